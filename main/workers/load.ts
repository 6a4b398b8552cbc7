/** @file Opens a base model, with an adapter on it where one is named: what training, answering, comparing and exporting begin with. */
import { loadBase, type BaseModel, type LoraModel } from '../engine/index.ts';
import type { ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { readAdapter } from '../formats/peft.ts';

export interface LoadedModel {
  readonly files: ModelFiles;
  readonly base: BaseModel;
  close(): Promise<void>;
}

/** @throws FORMAT_*, MODEL_UNSUPPORTED, MODEL_INCOMPLETE */
export async function loadModel(path: string, threads: number): Promise<LoadedModel> {
  const files = await openModel(path);
  try {
    const base = await loadBase(files.config, files.weights, { threads });
    return {
      files,
      base,
      close: async () => {
        await base.release();
        await files.close();
      },
    };
  } catch (error) {
    await files.close();
    throw error;
  }
}

/** The base model itself, or the same with the adapter in a PEFT folder. @throws FORMAT_*, MODEL_INCOMPLETE */
export async function withAdapter(base: BaseModel, folder: string | null): Promise<BaseModel | LoraModel> {
  if (folder === null) return base;
  const adapter = await readAdapter(folder);
  try {
    const model = base.withLora({ ...adapter.lora, seed: 0 });
    await model.load(adapter.weights);
    return model;
  } finally {
    await adapter.close();
  }
}
