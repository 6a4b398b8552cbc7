/**
 * @file Prints the seconds that llama.cpp takes to write a number of tokens after a prompt, which is not counted.
 *
 * usage: node speed.mjs MODEL.gguf TOKENS THREADS ID,ID,...
 */
import { llama } from './llama.mjs';

const [modelPath, tokens, threads, prompt] = process.argv.slice(2);
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 1024, threads: { ideal: Number(threads), min: 1 } });
const sequence = context.getSequence();
let began = 0;
let left = Number(tokens);
for await (const id of sequence.evaluate(prompt.split(',').map(Number), { temperature: 0, yieldEogToken: true })) {
  void id;
  // The first token comes with the prompt.
  if (began === 0) began = performance.now();
  else if (--left === 0) break;
}
console.log((performance.now() - began) / 1000);
await llama.dispose();
