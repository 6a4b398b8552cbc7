/** @file Opens a base model, with an adapter on it where one is named: what training, answering, comparing and exporting begin with. */
import { loadBase, readSpec, type BaseModel, type LoraModel } from '../engine/index.ts';
import { adapterIn, mergedWeights } from '../engine/model/merge.ts';
import type { ChatTemplate, ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { readAdapter, type Adapter } from '../formats/peft.ts';
import { conversationTemplate } from '../formats/plain-template.ts';

export interface LoadedModel {
  readonly files: ModelFiles;
  /** The model's own chat template, else the plain one. */
  readonly template: ChatTemplate;
  readonly base: BaseModel;
  close(): Promise<void>;
}

/**
 * @param under folders of the adapters of earlier stages, first to last: they are merged into the weights as those are
 * read, so that what is loaded is the model that the last stage stood on. The files stay as they are.
 * @throws FORMAT_*, MODEL_UNSUPPORTED, MODEL_INCOMPLETE
 */
export async function loadModel(path: string, threads: number, under: readonly string[] = []): Promise<LoadedModel> {
  const opened = await openModel(path);
  const adapters: Adapter[] = [];
  const close = async (): Promise<void> => {
    for (const adapter of adapters) await adapter.close();
    await opened.close();
  };
  try {
    for (const folder of under) adapters.push(await readAdapter(folder));
    const spec = readSpec(opened.config);
    const weights = adapters.reduce((on, adapter) => mergedWeights(adapterIn(adapter), on, spec), opened.weights);
    const base = await loadBase(opened.config, weights, { threads });
    return {
      files: { ...opened, weights },
      template: conversationTemplate(opened),
      base,
      close: async () => {
        await base.release();
        await close();
      },
    };
  } catch (error) {
    await close();
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
