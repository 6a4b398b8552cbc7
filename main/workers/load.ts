/** @file Opens a base model, with an adapter on it where one is named: what training, answering, comparing and exporting begin with. */
import { loadBase, readSpec, type BaseModel, type TunedModel } from '../engine/index.ts';
import { mergeableIn, mergedWeights } from '../engine/model/merge.ts';
import type { ChatTemplate, ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { conversationTemplate } from '../formats/plain-template.ts';
import { readTuned, type Tuned } from '../formats/tuned.ts';

export interface OpenedModel {
  /** With `weights` as they stand after the stages before. */
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
 * @param under folders of what earlier stages learned, first to last: it is merged into the weights as those are
 * read, so that what is loaded is the model that the last stage stood on. The files stay as they are.
 * @throws FORMAT_*, MODEL_UNSUPPORTED
 */
export async function openStages(path: string, under: readonly string[] = []): Promise<OpenedModel> {
  const opened = await openModel(path);
  const stages: Tuned[] = [];
  const close = async (): Promise<void> => {
    for (const stage of stages) await stage.close();
    await opened.close();
  };
  try {
    for (const folder of under) stages.push(await readTuned(folder));
    const spec = readSpec(opened.config);
    const weights = stages.reduce((on, stage) => mergedWeights(mergeableIn(stage), on, spec), opened.weights);
    return { files: { ...opened, weights }, template: conversationTemplate(opened), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Takes the model that `openStages` opens into memory, in float32.
 * @param onTensor called before each is read; may throw to give up. @throws FORMAT_*, MODEL_UNSUPPORTED, MODEL_INCOMPLETE
 */
export async function loadModel(
  path: string,
  threads: number,
  under: readonly string[] = [],
  onTensor: () => void = () => undefined,
): Promise<LoadedModel> {
  const opened = await openStages(path, under);
  try {
    const { config, weights } = opened.files;
    const read: typeof weights.read = async (name) => {
      onTensor();
      return weights.read(name);
    };
    const base = await loadBase(config, { ...weights, read }, { threads });
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

/** The base model itself, or the same with what a folder holds: an adapter, or weights of its own. @throws FORMAT_*, MODEL_INCOMPLETE */
export async function withAdapter(base: BaseModel, folder: string | null): Promise<BaseModel | TunedModel> {
  if (folder === null) return base;
  return withOpened(base, await readTuned(folder));
}

/** The same with what is open; it is closed then. */
export async function withOpened(base: BaseModel, { lora, weights, close }: Tuned): Promise<TunedModel> {
  try {
    const model = lora ? base.withLora({ ...lora, seed: 0 }) : base.withAllTrained({ seed: 0 });
    await model.load(weights);
    return model;
  } finally {
    await close();
  }
}
