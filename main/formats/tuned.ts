/** @file What the folder of a checkpoint or an export holds: an adapter as PEFT keeps it, or all of a model's weights. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { WeightSource } from './model.ts';
import { PEFT_PREFIX, readAdapter, type LoraSettings, type PeftAdapter } from './peft.ts';
import { openSafetensors } from './safetensors.ts';

/** Weights of a run that trained all of them. */
export const WHOLE_FILE = 'model.safetensors';

export interface Tuned {
  /** Null where all weights were trained. */
  readonly lora: LoraSettings | null;
  /** By the base model's names: adapters' matrices, and weights that take the place of the base's. */
  readonly weights: WeightSource;
  close(): Promise<void>;
}

/** @throws FILE_NOT_FOUND, FORMAT_INVALID, MODEL_UNSUPPORTED for what the engine cannot take over. */
export async function readTuned(folder: string): Promise<Tuned> {
  if (existsSync(join(folder, WHOLE_FILE))) {
    const weights = await openSafetensors(join(folder, WHOLE_FILE));
    return { lora: null, weights, close: () => weights.close() };
  }
  return readPeft(folder);
}

/** An adapter by the base model's names. @throws as readAdapter */
export async function readPeft(folder: string): Promise<Tuned & Pick<PeftAdapter, 'lora' | 'stated'>> {
  const { lora, weights, stated, close } = await readAdapter(folder);
  const prefixed = (name: string): string => PEFT_PREFIX + name;
  const names = weights.names.map((name) => (name.startsWith(PEFT_PREFIX) ? name.slice(PEFT_PREFIX.length) : name));
  return {
    lora,
    weights: { names, info: (name) => weights.info(prefixed(name)), read: (name) => weights.read(prefixed(name)) },
    stated,
    close,
  };
}
