/** @file Opens a base model, with an adapter on it where one is named: what training, answering, comparing and exporting begin with. */
import { loadBase, type BaseModel, type LoraModel } from '../engine/index.ts';
import { adapterIn, mergedWeights } from '../engine/model/merge.ts';
import type { ChatTemplate, ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { readAdapter, type Adapter } from '../formats/peft.ts';
import { conversationTemplate } from '../formats/plain-template.ts';

export interface OpenedModel {
  readonly files: ModelFiles;
  /** The model's own chat template, else the plain one. */
  readonly template: ChatTemplate;
  close(): Promise<void>;
}
export interface LoadedModel extends OpenedModel {
  readonly base: BaseModel;
}

/**
 * Opens the files; numbers are read when they are asked for.
 * @param under folders of the adapters of earlier stages, first to last: they are merged into the weights as those are
 * read, so that what is loaded is the model that the last stage stood on. The files stay as they are.
 * @throws FORMAT_*, MODEL_UNSUPPORTED, MODEL_INCOMPLETE
 */
export async function openStages(path: string, under: readonly string[] = []): Promise<OpenedModel> {
  const opened = await openModel(path);
  const adapters: Adapter[] = [];
  const close = async (): Promise<void> => {
    for (const adapter of adapters) await adapter.close();
    await opened.close();
  };
  try {
    for (const folder of under) adapters.push(await readAdapter(folder));
    const weights = adapters.reduce((on, adapter) => mergedWeights(adapterIn(adapter), on), opened.weights);
    return { files: { ...opened, weights }, template: conversationTemplate(opened), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Takes the model that `openStages` opens into memory. @throws as openStages */
export async function loadModel(path: string, threads: number, under: readonly string[] = []): Promise<LoadedModel> {
  const opened = await openStages(path, under);
  try {
    const base = await loadBase(opened.files.config, opened.files.weights, { threads });
    return {
      ...opened,
      base,
      close: async () => {
        await base.release();
        await opened.close();
      },
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** The base model itself, or the same with the adapter in a PEFT folder. @throws FORMAT_*, MODEL_INCOMPLETE */
export async function withAdapter(base: BaseModel, folder: string | null): Promise<BaseModel | LoraModel> {
  if (folder === null) return base;
  return withOpened(base, await readAdapter(folder));
}

/** The same with an adapter that is open; it is closed then. */
export async function withOpened(base: BaseModel, adapter: Adapter): Promise<LoraModel> {
  try {
    const model = base.withLora({ ...adapter.lora, seed: 0 });
    await model.load(adapter.weights);
    return model;
  } finally {
    await adapter.close();
  }
}
