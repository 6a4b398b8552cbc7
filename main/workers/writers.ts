/** @file Writes the files of an export in each format, into a folder that is not named yet. */
import { existsSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';
import { FLOATS, GGUF_TYPES, ggufNameOf, ONNX_TYPES } from '../contract/export-types.ts';
import { onnxBytes, writeOnnxFolder } from '../engine/export/folder.ts';
import { readSpec } from '../engine/index.ts';
import { mergeableIn, mergedWeights } from '../engine/model/merge.ts';
import { writeAdapterGguf } from '../formats/gguf/adapter.ts';
import { planModelGguf, storedBytes, writeModelGguf } from '../formats/gguf/export.ts';
import { folderBytes, writeModelFolder, writeTokenizer } from '../formats/huggingface/write.ts';
import type { ModelFiles } from '../formats/model.ts';
import { modelfile, ollamaTemplate, type OllamaTemplate } from '../formats/ollama.ts';
import {
  ADAPTER_FILE,
  concatenateAdapters,
  PEFT_PREFIX,
  readAdapter,
  writeAdapter,
  type LoraSettings,
} from '../formats/peft.ts';
import type { TensorToWrite } from '../formats/safetensors.ts';
import { readTuned } from '../formats/tuned.ts';
import type { ExportJob } from './export.ts';
import { llamaCppInstalled } from './llama-cpp.ts';
import { openStages } from './load.ts';

export interface ToWrite {
  readonly files: ModelFiles;
  readonly ollama: OllamaTemplate | null;
  /** The base brings a chat template. */
  readonly ownTemplate: boolean;
}

export const ggufName = ({ card, dtype, format }: ExportJob): string =>
  ggufNameOf(card.title, format === 'gguf-adapter' ? `adapter-${dtype}` : dtype);

/** A base that lies here as GGUF is what an adapter as GGUF will be put on; another must be written for the proof. */
export const needsBase = ({ model, alone, under }: ExportJob): boolean =>
  !model.endsWith('.gguf') || (alone && under.length > 0);

/** Bytes that the numbers will take, while it is proven too. @throws EXPORT_UNSUPPORTED where they have no place in the format */
export async function weightBytes(job: ExportJob, files: ModelFiles): Promise<number> {
  const { format, dtype, card } = job;
  const { config, weights } = files;
  if (format === 'safetensors') return folderBytes(weights, z.enum(FLOATS).parse(dtype));
  if (format === 'onnx') return onnxBytes(config, weights, z.enum(ONNX_TYPES).parse(dtype));
  const own = adapterBytes(job);
  if (format === 'adapter') return own + (job.withBase ? folderBytes(weights, 'f32') : 0);
  const type = format === 'gguf-adapter' ? 'f32' : z.enum(GGUF_TYPES).parse(dtype);
  planModelGguf(files, type, { name: card.title, license: null });
  const proofAlone = format === 'gguf-adapter' && !(needsBase(job) && (await llamaCppInstalled()));
  return own + (proofAlone ? 0 : storedBytes(weights, config, type));
}

/** Of the files of weights that an adapter is written from: those of all its stages, or of its own alone. */
function adapterBytes({ format, adapter, under, alone }: ExportJob): number {
  if (format !== 'adapter' && format !== 'gguf-adapter') return 0;
  const folders = [...(alone ? [] : under), adapter];
  // One that is gone is told of where it is read.
  const sizes = folders
    .map((folder) => join(folder, ADAPTER_FILE))
    .map((path) => (existsSync(path) ? statSync(path).size : 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** @throws EXPORT_UNSUPPORTED */
export function translated({
  chatTemplate,
  tokenizer,
}: Pick<ModelFiles, 'chatTemplate' | 'tokenizer'>): OllamaTemplate {
  if (chatTemplate)
    return ollamaTemplate(chatTemplate, tokenizer.bosId === null ? null : tokenizer.piece(tokenizer.bosId));
  throw new FettleError(
    'EXPORT_UNSUPPORTED',
    'Ollama wants the form of a conversation, and this model has none: it has read text alone.',
    'Export as GGUF, or tune it with examples first.',
  );
}

/**
 * Reads and writes one tensor at a time: no model lies in memory for it.
 * @param tell told the share that is written; may throw to give up.
 * @returns the adapter's settings, of all stages where they are written as one; null where all weights were trained.
 */
export async function writeFiles(
  job: ExportJob,
  folder: string,
  { files, ollama, ownTemplate }: ToWrite,
  tell: (share: number) => void,
): Promise<LoraSettings | null> {
  tell(0);
  if (job.format === 'adapter' || job.format === 'gguf-adapter')
    return writeAdapters(job, folder, { files, ownTemplate }, tell);
  const tuned = await readTuned(job.adapter);
  try {
    const merged = { ...files, weights: mergedWeights(mergeableIn(tuned), files.weights, readSpec(files.config)) };
    if (job.format === 'safetensors')
      await writeModelFolder(folder, merged, { dtype: z.enum(FLOATS).parse(job.dtype), tell });
    else if (job.format === 'onnx') await writeOnnxFolder(folder, merged, z.enum(ONNX_TYPES).parse(job.dtype), tell);
    else {
      const facts = { name: job.card.title, license: job.card.base.license };
      await writeModelGguf(join(folder, ggufName(job)), merged, z.enum(GGUF_TYPES).parse(job.dtype), facts, tell);
      if (ollama) await writeFile(join(folder, 'Modelfile'), modelfile(ggufName(job), ollama, files));
    }
    return tuned.lora;
  } finally {
    await tuned.close();
  }
}

/** The adapter of the run, or those of all its stages as one. */
async function writeAdapters(
  job: ExportJob,
  folder: string,
  { files, ownTemplate }: Pick<ToWrite, 'files' | 'ownTemplate'>,
  tell: (share: number) => void,
): Promise<LoraSettings> {
  const under = job.alone ? [] : job.under;
  const adapters = await Promise.all([...under, job.adapter].map((path) => readAdapter(path)));
  const own = adapters.at(-1)!;
  try {
    const { lora, tensors } =
      under.length > 0
        ? await concatenateAdapters(adapters)
        : {
            lora: own.lora,
            tensors: own.weights.names.map((name): TensorToWrite => ({
              name: name.slice(PEFT_PREFIX.length),
              shape: own.weights.info(name).shape,
              data: () => own.weights.read(name),
            })),
          };
    if (job.format === 'gguf-adapter') {
      const type = z.enum(['f32', 'f16']).parse(job.dtype);
      const about = { config: files.config, name: job.card.title, type };
      await writeAdapterGguf(join(folder, ggufName(job)), { lora, tensors }, about);
      return lora;
    }
    const { transposed } = readSpec(files.config);
    await writeAdapter(folder, tensors, { ...lora, baseModel: job.card.base.name, transposed });
    // Other programs take the base's own template from the base; one that it has not must travel with the adapter.
    if (files.chatTemplate && !ownTemplate && !job.withBase) await writeTokenizer(folder, files);
    if (job.withBase) await writeBase(job, folder, files, tell);
    return lora;
  } finally {
    for (const adapter of adapters) await adapter.close();
  }
}

/** What the adapter stands on, its weights as they were widened for training: all stages as one stand on the plain base. */
async function writeBase(
  job: ExportJob,
  folder: string,
  { chatTemplate }: ModelFiles,
  tell: (share: number) => void,
): Promise<void> {
  const base = await openStages(job.model, job.alone ? job.under : []);
  try {
    await writeModelFolder(join(folder, 'base'), { ...base.files, chatTemplate }, { dtype: 'f32', tell });
  } finally {
    await base.close();
  }
}
