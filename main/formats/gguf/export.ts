/** @file A model as one GGUF file: names, order of rows, metadata, tokenizer, and which tensor is stored how. */
import { FettleError } from '../../contract/errors.ts';
import { keepsMoreBits } from '../mix.ts';
import type { ModelFiles, WeightSource } from '../model.ts';
import { describe } from './config.ts';
import { ggufName } from './names.ts';
import { blockSize, quantisedBytes, type QuantisedType } from './quantise.ts';
import { tokenizerMetadata } from './write-tokenizer.ts';
import { writeGguf, type GgufTensorToWrite, type Metadata } from './write.ts';

/** Names as llama.cpp's quantize takes them, each with its value of `general.file_type`. */
const FILE_TYPES = {
  f32: 0,
  f16: 1,
  bf16: 32,
  q8_0: 7,
  q4_0: 2,
  q4_1: 3,
  q5_0: 8,
  q5_1: 9,
  q4_k_m: 15,
  q5_k_m: 17,
  q6_k: 18,
} as const;
export type GgufQuant = keyof typeof FILE_TYPES;

export interface GgufFacts {
  readonly name: string;
  readonly license: string | null;
}

type Exported = Pick<ModelFiles, 'config' | 'weights' | 'tokenizer' | 'chatTemplate' | 'stopIds'>;

/** @throws EXPORT_UNSUPPORTED where the model or its tokenizer has no place in the format, DISK_FULL */
export async function writeModelGguf(
  path: string,
  files: Exported,
  quant: GgufQuant,
  facts: GgufFacts,
  onTensor?: (share: number) => void,
): Promise<void> {
  const { metadata, tensors } = planModelGguf(files, quant, facts);
  await writeGguf(path, metadata, tensors, onTensor);
}

/** What will be written: nothing is read or written yet, and what has no place is refused. @throws EXPORT_UNSUPPORTED */
export function planModelGguf(
  files: Exported,
  quant: GgufQuant,
  facts: GgufFacts,
): { readonly metadata: Metadata; readonly tensors: readonly GgufTensorToWrite[] } {
  const { config, weights } = files;
  const { family } = describe(config);
  const rows = weights.info(family.whole['token_embd.weight']!).shape[0]!;
  const described = describe({ ...config, vocab_size: rows });
  const metadata = [
    ...described.metadata,
    ['general.type', ['string', 'model']],
    ...(facts.license ? ([['general.license', ['string', facts.license]]] as const) : []),
    ['general.file_type', ['uint32', FILE_TYPES[quant]]],
    ['general.quantization_version', ['uint32', 2]],
    ...tokenizerMetadata(files, rows, facts.name),
  ] as const;
  return { metadata, tensors: tensorsOf(weights, files, quant) };
}

/** Bytes that the numbers of a model take so stored. @throws EXPORT_UNSUPPORTED */
export function storedBytes(weights: WeightSource, config: ModelFiles['config'], quant: GgufQuant): number {
  return tensorsOf(weights, { config }, quant).reduce(
    (sum, { shape, storage }) =>
      sum +
      quantisedBytes(
        storage,
        shape.reduce((a, b) => a * b, 1),
      ),
    0,
  );
}

function tensorsOf(
  weights: WeightSource,
  { config }: Pick<ModelFiles, 'config'>,
  quant: GgufQuant,
): GgufTensorToWrite[] {
  const { family, tables } = describe(config);
  // A tied head is the embedding; llama.cpp takes it where the file has no output.
  const names = weights.names.filter((name) => !(config['tie_word_embeddings'] === true && name === 'lm_head.weight'));
  const layers = Number(config['num_hidden_layers'] ?? config['n_layer']);
  const own = tables.map(({ name, numbers }): GgufTensorToWrite => ({
    name,
    shape: [numbers.length],
    storage: 'F32',
    read: () => Promise.resolve(numbers),
  }));
  const tensors = names.map((name): GgufTensorToWrite => {
    const called = ggufName(family, name);
    if (called === undefined)
      throw new FettleError(
        'EXPORT_UNSUPPORTED',
        `llama.cpp has no name for the tensor ${name}.`,
        'Export as safetensors.',
      );
    const ours = weights.info(name).shape;
    const change = family.change(called, config);
    const shape = change?.turned ? ours.toReversed() : ours;
    return {
      name: called,
      shape,
      storage: storageOf(called, shape, quant, layers),
      read: async () => {
        const numbers = await weights.read(name);
        return change?.toGguf(numbers, ours) ?? numbers;
      },
    };
  });
  return [...own, ...tensors];
}

/** What stands in where rows do not divide by 256: as llama.cpp chooses. */
const FALLBACK: Partial<Readonly<Record<QuantisedType, QuantisedType>>> = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' };

/** Vectors and learned positions keep all their 32 bits; embedding and head keep six or eight bits, since every answer goes through them. */
function storageOf(name: string, shape: readonly number[], quant: GgufQuant, layers: number): QuantisedType {
  if (shape.length === 1 || name === 'position_embd.weight') return 'F32';
  const wanted = storageWanted(name, quant, layers);
  const width = shape.at(-1)!;
  if (width % blockSize(wanted) === 0) return wanted;
  const fallback = FALLBACK[wanted];
  if (fallback && width % blockSize(fallback) === 0) return fallback;
  return 'F16';
}

function storageWanted(name: string, quant: GgufQuant, layers: number): QuantisedType {
  const low = quant !== 'f32' && quant !== 'f16' && quant !== 'bf16' && quant !== 'q8_0';
  if (low && /^(token_embd|output)\.weight$/.test(name)) return 'Q6_K';
  if (quant !== 'q4_k_m' && quant !== 'q5_k_m') return quant.toUpperCase() as QuantisedType;
  // The mix that llama.cpp calls medium: values and the way down get six bits in half of the blocks.
  const layer = Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0);
  if (keepsMoreBits(layer, layers) && /\.(attn_v|ffn_down)\.weight$/.test(name)) return 'Q6_K';
  // Where values share their tensor with queries and keys, all three get a step more.
  if (name.endsWith('.attn_qkv.weight')) return quant === 'q4_k_m' ? 'Q5_K' : 'Q6_K';
  return quant === 'q4_k_m' ? 'Q4_K' : 'Q5_K';
}
