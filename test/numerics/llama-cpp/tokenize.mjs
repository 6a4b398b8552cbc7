/**
 * @file Answers how llama.cpp tokenises texts.
 *
 * usage: node tokenize.mjs REQUEST.json ANSWER.json
 *
 * REQUEST: {"models": [GGUF file], "texts": [text]}
 * ANSWER:  for each model {"literal": [[id] of each text], "parsed": [[id] of each text]}
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { llama } from './llama.mjs';
import { tokenize } from './tokens.mjs';

const [request, answer] = process.argv.slice(2);
const { models, texts } = JSON.parse(readFileSync(request, 'utf8'));
const answers = [];
for (const model of models) answers.push(await tokenize(model, texts));
writeFileSync(answer, JSON.stringify(answers));
await llama.dispose();
