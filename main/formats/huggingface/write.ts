/** @file Writes a model as the folder that transformers' from_pretrained loads. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HfConfig, ModelFiles } from '../model.ts';
import { writeSafetensors, type FloatType, type TensorToWrite } from '../safetensors.ts';

/** Larger models are cut into files of at most this many bytes. */
const SHARD_BYTES = 2e9;
const TYPES = { f32: ['F32', 'float32', 4], f16: ['F16', 'float16', 2], bf16: ['BF16', 'bfloat16', 2] } as const;

export interface FolderOptions {
  readonly dtype: keyof typeof TYPES;
  readonly shardBytes?: number;
  /** Told the share of the weights that is written, before each tensor; may throw to give up. */
  readonly tell?: (share: number) => void;
}

/**
 * Reads and writes one tensor at a time.
 * @param folder exists already or is made. @throws DISK_FULL
 */
export async function writeModelFolder(
  folder: string,
  files: Pick<ModelFiles, 'config' | 'weights' | 'tokenizer' | 'chatTemplate' | 'stopIds'>,
  { dtype, shardBytes = SHARD_BYTES, tell = () => undefined }: FolderOptions,
): Promise<void> {
  const [storage, torchName, width] = TYPES[dtype];
  await mkdir(folder, { recursive: true });
  await writeWeights(folder, files.weights, storage, width, { shardBytes, tell });
  await writeConfigs(folder, files, torchName);
}

/** All that stands beside the weights: config.json, with `more` in it, generation_config.json and the tokenizer. */
export async function writeConfigs(
  folder: string,
  files: Pick<ModelFiles, 'config' | 'tokenizer' | 'chatTemplate' | 'stopIds'>,
  torchName: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const json = (name: string, value: unknown): Promise<void> =>
    writeFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  const config = { ...publicConfig(files.config, torchName), ...more };
  await writeFile(join(folder, 'config.json'), `${withFloats(JSON.stringify(config, null, 2))}\n`);
  const { tokenizer, stopIds } = files;
  await json('generation_config.json', {
    bos_token_id: tokenizer.bosId,
    eos_token_id: stopIds.length > 1 ? stopIds : (stopIds[0] ?? tokenizer.eosId),
  });
  await writeTokenizer(folder, files);
}

/** tokenizer.json, and tokenizer_config.json with the chat template. */
export async function writeTokenizer(
  folder: string,
  { tokenizer, chatTemplate }: Pick<ModelFiles, 'tokenizer' | 'chatTemplate'>,
): Promise<void> {
  const json = (name: string, value: unknown): Promise<void> =>
    writeFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  const piece = (id: number | null): string | null => (id === null ? null : tokenizer.piece(id));
  await json('tokenizer.json', tokenizer.toJson());
  await json('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: piece(tokenizer.bosId),
    eos_token: piece(tokenizer.eosId),
    clean_up_tokenization_spaces: false,
    ...(chatTemplate ? { chat_template: chatTemplate.source } : {}),
  });
}

/** Bytes of the weights so written. */
export const folderBytes = (weights: ModelFiles['weights'], dtype: keyof typeof TYPES): number =>
  weights.names.reduce(
    (sum, name) => sum + weights.info(name).shape.reduce((product, size) => product * size, TYPES[dtype][2]),
    0,
  );

async function writeWeights(
  folder: string,
  weights: ModelFiles['weights'],
  dtype: FloatType,
  width: number,
  { shardBytes, tell }: Required<Pick<FolderOptions, 'shardBytes' | 'tell'>>,
): Promise<void> {
  const shards: TensorToWrite[][] = [[]];
  let [filled, total] = [0, 0];
  for (const name of weights.names) {
    const { shape } = weights.info(name);
    const bytes = shape.reduce((product, size) => product * size, width);
    if (filled > 0 && filled + bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    const before = total;
    const data = (): ReturnType<typeof weights.read> => {
      tell(before / total);
      return weights.read(name);
    };
    shards.at(-1)!.push({ name, shape, data });
    filled += bytes;
    total += bytes;
  }
  const [only] = shards;
  if (shards.length === 1) return writeSafetensors(join(folder, 'model.safetensors'), only!, { dtype });
  const map: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const number = (value: number): string => String(value).padStart(5, '0');
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, file), shard, { dtype });
    for (const { name } of shard) map[name] = file;
  }
  const index = { metadata: { total_size: total }, weight_map: map };
  await writeFile(join(folder, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`);
}

/** transformers 5 refuses a whole number where its config has a float, and JavaScript writes 30.0 as 30. */
const withFloats = (json: string): string =>
  json.replaceAll(/^( *"(?:\w+_softcapping|initializer_range|\w+_eps|\w+_epsilon)": -?\d+)(?=,?$)/gm, '$1.0');

/** Without what says where it lay or how it was stored. */
function publicConfig(config: HfConfig, dtype: string): Record<string, unknown> {
  const { _name_or_path: _, quantization_config: __, dtype: ___, ...rest } = config;
  return { ...rest, torch_dtype: dtype };
}
