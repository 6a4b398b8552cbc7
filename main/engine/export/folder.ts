/** @file Writes a model as the folder that transformers.js and onnxruntime-genai load: tokenizer and configs at its root, the graph and its weights in onnx/. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeConfigs } from '../../formats/huggingface/write.ts';
import type { HfConfig, ModelFiles, WeightSource } from '../../formats/model.ts';
import { genaiConfig } from '../../formats/onnx/genai.ts';
import { bytesOf, writeOnnx } from '../../formats/onnx/write.ts';
import { readSpec } from '../architectures/index.ts';
import { onnxModel, type OnnxType } from './model.ts';

export type { OnnxType } from './model.ts';

/** As transformers.js calls a type, and how it calls its file. */
const NAMES: Readonly<Record<OnnxType, { readonly dtype: string; readonly file: string }>> = {
  f32: { dtype: 'fp32', file: 'model.onnx' },
  f16: { dtype: 'fp16', file: 'model_fp16.onnx' },
  q8: { dtype: 'q8', file: 'model_quantized.onnx' },
  q4: { dtype: 'q4', file: 'model_q4.onnx' },
};

/** Where the graph lies in the folder. */
export const graphPath = (folder: string, type: OnnxType): string => join(folder, 'onnx', NAMES[type].file);

/** Bytes of the weights so stored. */
export const onnxBytes = (config: HfConfig, weights: WeightSource, type: OnnxType): number =>
  onnxModel(readSpec(config), weights, type)
    .groups.flatMap(({ tensors }) => tensors)
    .reduce((sum, tensor) => sum + bytesOf(tensor), 0);

/**
 * @param folder exists already.
 * @param onTensor told the share of bytes that is written; may throw to give up.
 * @throws EXPORT_UNSUPPORTED, DISK_FULL
 */
export async function writeOnnxFolder(
  folder: string,
  files: Pick<ModelFiles, 'config' | 'weights' | 'tokenizer' | 'chatTemplate' | 'stopIds'>,
  type: OnnxType,
  onTensor: (share: number) => void,
): Promise<void> {
  const { config, weights, tokenizer, stopIds } = files;
  const spec = readSpec(config);
  const { dtype, file } = NAMES[type];
  await mkdir(join(folder, 'onnx'));
  const { graph, groups } = onnxModel(spec, weights, type);
  const parts = await writeOnnx(graphPath(folder, type), graph, groups, { onTensor });
  await writeConfigs(folder, files, type === 'f16' ? 'float16' : 'float32', {
    'transformers.js_config': { dtype, use_external_data_format: { [file]: parts } },
  });
  const genai = genaiConfig({ ...spec, file: `onnx/${file}`, bosId: tokenizer.bosId, stopIds });
  await writeFile(join(folder, 'genai_config.json'), `${JSON.stringify(genai, null, 2)}\n`);
}
