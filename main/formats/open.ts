/** @file Opens a base model, whatever form it has on disk. */
import { open, stat } from 'node:fs/promises';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { openGguf } from './gguf/index.ts';
import { openHuggingFace } from './huggingface/read.ts';
import type { ModelFiles } from './model.ts';

/**
 * A Hugging Face folder or a GGUF file. Weights are read later, one tensor at a time.
 * @throws FILE_*, FORMAT_*, MODEL_INCOMPLETE, MODEL_UNSUPPORTED
 */
export async function openModel(path: string): Promise<ModelFiles> {
  const found = await stat(path).catch((error: unknown) => {
    throw toFettleError(error);
  });
  if (found.isDirectory()) return openHuggingFace(path);
  if (found.size === 0) throw new FettleError('FILE_EMPTY', `${path} is empty.`, 'Copy or download it again.');
  if ((await magic(path)) === 'GGUF') return openGguf(path);
  throw new FettleError(
    'FORMAT_UNKNOWN',
    `${path} is no model that Fettle knows.`,
    'Give a GGUF file, or the folder of a Hugging Face model with its config.json and safetensors weights.',
  );
}

async function magic(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(4);
    const { bytesRead } = await file.read(bytes, 0, 4, 0);
    return bytes.toString('latin1', 0, bytesRead);
  } finally {
    await file.close();
  }
}
