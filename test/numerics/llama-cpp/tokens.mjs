/** @file Token ids of texts, as llama.cpp gives them for the vocabulary of a GGUF file. */
import { llama } from './llama.mjs';

/** `literal`: special tokens in a text are plain text; `parsed`: they are known. No token is added before or after. */
export async function tokenize(modelPath, texts) {
  const model = await llama.loadModel({ modelPath, vocabOnly: true });
  const ids = (parseSpecial) => texts.map((text) => [...model.tokenize(text, parseSpecial)]);
  const answer = { literal: ids(false), parsed: ids(true) };
  await model.dispose();
  return answer;
}
