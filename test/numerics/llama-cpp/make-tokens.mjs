/**
 * @file Writes the fixture of token ids: the texts with what llama.cpp makes of them.
 *
 * usage: node make-tokens.mjs MODEL.gguf OUT.json
 */
import { writeFileSync } from 'node:fs';
import { llama } from './llama.mjs';
import { TEXTS } from './texts.mjs';
import { tokenize } from './tokens.mjs';

const [model, out] = process.argv.slice(2);
const { literal, parsed } = await tokenize(model, TEXTS);
// Where special tokens make no difference, it says so once.
const rows = TEXTS.map((text, i) => ({
  text,
  ids: literal[i],
  ...(String(literal[i]) === String(parsed[i]) ? {} : { parsed: parsed[i] }),
}));
writeFileSync(out, `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`);
await llama.dispose();
