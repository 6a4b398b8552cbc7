/** @file A GGUF file, opened as a base model: config, weights by their Hugging Face names, tokenizer, chat template. */
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { FettleError } from '../../contract/errors.ts';
import { chatTemplate } from '../chat-template.ts';
import { madeOf } from '../discard.ts';
import { kindOf, turnEndIds } from '../kind.ts';
import type { HfConfig, ModelFiles, WeightSource } from '../model.ts';
import { readExactly } from '../read-exactly.ts';
import { tokenizerFromJson } from '../tokenizer.ts';
import { configOf } from './config.ts';
import { COMPUTED, FAMILY_NAMES, familyOf, huggingFaceName } from './names.ts';
import { readGgufHeader, type GgufHeader, type GgufTensor } from './read.ts';
import { tokenizerJson, type GgufTokenizer } from './tokenizer.ts';

/** Reads the header; weights are read and widened when they are asked for. @throws FILE_*, FORMAT_*, MODEL_* */
export async function openGguf(path: string): Promise<ModelFiles> {
  const file = await open(path, 'r');
  try {
    const header = await readGgufHeader(file, path);
    return await describe(file, path, header);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function describe(file: FileHandle, path: string, header: GgufHeader): Promise<ModelFiles> {
  const { metadata } = header;
  const text = (key: string): string | null => {
    const value = metadata.get(key);
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const config = await configOf(header, async (name) => {
    const tensor = header.tensors.find((each) => each.name === name);
    return tensor ? readTensor(file, path, tensor) : null;
  });
  const { json, tokens, bosId, eosId, endIds } = tokenizerOf(header, config);
  const rows = config['vocab_size'];
  if (typeof rows === 'number' && tokens.length > rows)
    throw new FettleError(
      'FORMAT_INVALID',
      `${path} has ${tokens.length} tokens and embeddings for ${rows}.`,
      'Get the file again from where it came.',
    );
  const textOf = (id: number | null): string | null => (id === null ? null : tokens[id]!);
  const [bosToken, eosToken] = [textOf(bosId), textOf(eosId)];
  const tokenizer = tokenizerFromJson(json, { bosToken, eosToken });
  const source = text('tokenizer.chat_template');
  const stopIds = [...new Set([...endIds, ...turnEndIds(source, tokenizer.special)])];
  const stem = basename(path).replace(/\.gguf$/i, '');
  return {
    format: 'gguf',
    config,
    weights: weightsOf(file, path, header, config),
    tokenizer,
    chatTemplate: source === null ? null : chatTemplate(source, { bosToken, eosToken }),
    stopIds,
    license: text('general.license'),
    name: stem,
    bytes: header.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
    kind: kindOf({
      name: [stem, text('general.name')].filter((each) => each !== null).join(' / '),
      template: source,
      stopTokens: stopIds.map((id) => tokens[id]!),
    }),
    close: () => file.close(),
  };
}

/** Another architecture may bring a tokenizer that is not known either; it is the architecture that matters then. */
function tokenizerOf(header: GgufHeader, config: HfConfig): GgufTokenizer {
  try {
    return tokenizerJson(header);
  } catch (error) {
    if (familyOf(config)) throw error;
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      `Models of the architecture ${String(config['model_type'])} are not supported.`,
      `GGUF files of these are: ${FAMILY_NAMES.join(', ')}.`,
      { cause: error },
    );
  }
}

function weightsOf(file: FileHandle, path: string, { tensors }: GgufHeader, config: HfConfig): WeightSource {
  const family = familyOf(config);
  const byName = new Map<string, GgufTensor>();
  for (const tensor of tensors) {
    const name = family && huggingFaceName(family, tensor.name);
    if (name !== undefined) byName.set(name, tensor);
    else if (family && !COMPUTED.test(tensor.name))
      throw new FettleError(
        'MODEL_UNSUPPORTED',
        `${path} has a tensor that models of the architecture ${family.name} do not have: ${tensor.name}.`,
        'Choose another model.',
      );
  }
  const tensorOf = (name: string): GgufTensor => {
    const found = byName.get(name);
    if (!found) throw new FettleError('MODEL_INCOMPLETE', `${path} has no tensor ${name}.`, 'Get the complete file.');
    return found;
  };
  return {
    names: [...byName.keys()],
    info(name) {
      const { name: theirs, shape, block } = tensorOf(name);
      const turned = family?.change(theirs, config)?.turned;
      return { shape: turned ? shape.toReversed() : shape, storage: block.storage };
    },
    async read(name) {
      const tensor = tensorOf(name);
      const numbers = await readTensor(file, path, tensor);
      const change = family?.change(tensor.name, config);
      return change ? madeOf(numbers, (theirs) => change.toHuggingFace(theirs, tensor.shape)) : numbers;
    },
  };
}

async function readTensor(file: FileHandle, path: string, tensor: GgufTensor): Promise<Float32Array> {
  const bytes = new Uint8Array(tensor.bytes);
  await readExactly(file, path, bytes, tensor.start);
  return madeOf(bytes, (stored) => tensor.block.widen(stored));
}
