/** @file Writes the files of an export in each format, into a folder that is not named yet. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';
import { FLOATS, GGUF_TYPES, ONNX_TYPES } from '../contract/export-types.ts';
import { onnxBytes, writeOnnxFolder } from '../engine/export/folder.ts';
import { parameter, type TunedModel } from '../engine/index.ts';
import { mergeableOf, mergedWeights } from '../engine/model/merge.ts';
import { storedBytes, writeModelGguf } from '../formats/gguf/export.ts';
import { folderBytes, writeModelFolder, writeTokenizer } from '../formats/huggingface/write.ts';
import type { ModelFiles } from '../formats/model.ts';
import { modelfile, ollamaTemplate, type OllamaTemplate } from '../formats/ollama.ts';
import { concatenateAdapters, readAdapter, writeAdapter } from '../formats/peft.ts';
import type { ExportJob } from './export.ts';

export interface ToWrite {
  readonly files: ModelFiles;
  readonly tuned: TunedModel;
  readonly ollama: OllamaTemplate | null;
  /** The base brings a chat template. */
  readonly ownTemplate: boolean;
}

export const ggufName = ({ card, dtype }: ExportJob): string =>
  `${card.title.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-')}-${dtype}.gguf`;

/** Bytes that the model's numbers will take. @throws EXPORT_UNSUPPORTED where they have no place in the format */
export function weightBytes({ format, dtype }: ExportJob, files: Pick<ModelFiles, 'weights' | 'config'>): number {
  if (format === 'safetensors') return folderBytes(files.weights, z.enum(FLOATS).parse(dtype));
  if (format === 'onnx') return onnxBytes(files.config, files.weights, z.enum(ONNX_TYPES).parse(dtype));
  return storedBytes(files.weights, files.config, z.enum(GGUF_TYPES).parse(dtype));
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

/** @param tell told the share that is written; may throw to give up. */
export async function writeFiles(
  job: ExportJob,
  folder: string,
  { files, tuned, ollama, ownTemplate }: ToWrite,
  tell: (share: number) => void,
): Promise<void> {
  tell(0);
  if (job.format === 'adapter') {
    await writeAdapters(job, folder, tuned);
    // Other programs take the base's own template from the base; one that it has not must travel with the adapter.
    if (files.chatTemplate && !ownTemplate) await writeTokenizer(folder, files);
    return;
  }
  const merged = { ...files, weights: mergedWeights(mergeableOf(tuned), files.weights, tuned.spec) };
  if (job.format === 'safetensors') return writeModelFolder(folder, merged, { dtype: z.enum(FLOATS).parse(job.dtype) });
  if (job.format === 'onnx') return writeOnnxFolder(folder, merged, z.enum(ONNX_TYPES).parse(job.dtype), tell);
  const facts = { name: job.card.title, license: job.card.base.license };
  await writeModelGguf(join(folder, ggufName(job)), merged, z.enum(GGUF_TYPES).parse(job.dtype), facts, tell);
  if (ollama) await writeFile(join(folder, 'Modelfile'), modelfile(ggufName(job), ollama, files));
}

/** The adapter of the run, or those of all its stages as one. */
async function writeAdapters(job: ExportJob, folder: string, tuned: TunedModel): Promise<void> {
  const base = { baseModel: job.card.base.name, transposed: tuned.spec.transposed };
  if (!job.alone && job.under.length > 0) {
    const adapters = await Promise.all([...job.under, job.adapter].map((path) => readAdapter(path)));
    const { lora, tensors } = await concatenateAdapters(adapters);
    for (const adapter of adapters) await adapter.close();
    return writeAdapter(folder, tensors, { ...lora, ...base });
  }
  const { entries } = tuned.parameters;
  await writeAdapter(
    folder,
    entries.map(({ name, shape }) => ({ name, shape, data: parameter(tuned.parameters, name) })),
    { ...tuned.lora!, ...base },
  );
}
