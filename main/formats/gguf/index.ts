/** @file A GGUF file, opened as a base model: config, weights by their Hugging Face names, tokenizer, chat template. */
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { FettleError } from '../../contract/errors.ts';
import { chatTemplate } from '../chat-template.ts';
import { kindOf, turnEndIds } from '../kind.ts';
import type { HfConfig, ModelFiles, WeightSource } from '../model.ts';
import { readExactly } from '../read-exactly.ts';
import { tokenizerFromJson } from '../tokenizer.ts';
import { BLOCKS } from './blocks.ts';
import { configOf, huggingFaceName, permutedHeads, unpermute } from './llama.ts';
import { readGgufHeader, type GgufHeader, type GgufTensor } from './read.ts';
import { tokenizerJson } from './tokenizer.ts';

/** Reads the header; weights are read and widened when they are asked for. @throws FILE_*, FORMAT_*, MODEL_* */
export async function openGguf(path: string): Promise<ModelFiles> {
  const file = await open(path, 'r');
  try {
    const header = await readGgufHeader(file, path);
    return describe(file, path, header);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function describe(file: FileHandle, path: string, header: GgufHeader): ModelFiles {
  const { metadata } = header;
  const text = (key: string): string | null => {
    const value = metadata.get(key);
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const { json, tokens } = tokenizerJson(header);
  const token = (key: string): string | null => {
    const id = metadata.get(`tokenizer.ggml.${key}`);
    return typeof id === 'number' ? (tokens[id] ?? null) : null;
  };
  const [bosToken, eosToken] = [token('bos_token_id'), token('eos_token_id')];
  const tokenizer = tokenizerFromJson(json, { bosToken, eosToken });
  const source = text('tokenizer.chat_template');
  const ends = ['eos_token_id', 'eot_token_id', 'eom_token_id'].flatMap((key) => {
    const id = metadata.get(`tokenizer.ggml.${key}`);
    return typeof id === 'number' ? [id] : [];
  });
  const stopIds = [...new Set([...ends, ...turnEndIds(source, tokenizer.special)])];
  const stem = basename(path).replace(/\.gguf$/i, '');
  return {
    format: 'gguf',
    config: configOf(header),
    weights: weightsOf(file, path, header, configOf(header)),
    tokenizer,
    chatTemplate: source === null ? null : chatTemplate(source, { bosToken, eosToken }),
    stopIds,
    license: text('general.license'),
    name: stem,
    bytes: header.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
    kind: kindOf({ name: `${text('general.name') ?? ''} ${stem}`.trim(), template: source, stopTokens: stopIds.map((id) => tokens[id] ?? '') }),
    close: () => file.close(),
  };
}

function weightsOf(file: FileHandle, path: string, { tensors }: GgufHeader, config: HfConfig): WeightSource {
  const byName = new Map<string, GgufTensor>();
  for (const tensor of tensors) {
    const name = huggingFaceName(tensor.name);
    if (name !== undefined) byName.set(name, tensor);
  }
  const tensorOf = (name: string): GgufTensor => {
    const found = byName.get(name);
    if (!found) throw new FettleError('MODEL_INCOMPLETE', `${path} has no tensor ${name}.`, 'Get the complete file.');
    return found;
  };
  return {
    names: [...byName.keys()],
    info: (name) => tensorOf(name),
    async read(name) {
      const tensor = tensorOf(name);
      const bytes = new Uint8Array(tensor.bytes);
      await readExactly(file, path, bytes, tensor.start);
      const block = [...BLOCKS.values()].find((each) => each.storage === tensor.storage)!;
      const numbers = block.widen(bytes);
      const heads = permutedHeads(tensor.name, config);
      return heads === 0 ? numbers : unpermute(numbers, heads, tensor.shape.length === 1 ? 1 : tensor.shape.at(-1)!);
    },
  };
}
