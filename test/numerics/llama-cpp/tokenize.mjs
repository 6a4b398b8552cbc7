/**
 * @file Token ids as llama.cpp gives them.
 *
 * usage: node tokenize.mjs REQUEST.json ANSWER.json
 *
 * REQUEST: {"models": [GGUF file], "texts": [text]}
 * ANSWER:  for each model {"literal": [[ids] of each text, special tokens read as plain text], "parsed": [[ids], special tokens known]}
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { llama } from './llama.mjs';

const [request, answer] = process.argv.slice(2);
const { models, texts } = JSON.parse(readFileSync(request, 'utf8'));
const answers = [];
for (const modelPath of models) {
  const model = await llama.loadModel({ modelPath, vocabOnly: true });
  const ids = (parseSpecial) => texts.map((text) => [...model.tokenize(text, parseSpecial)]);
  answers.push({ literal: ids(false), parsed: ids(true) });
  await model.dispose();
}
writeFileSync(answer, JSON.stringify(answers));
await llama.dispose();
