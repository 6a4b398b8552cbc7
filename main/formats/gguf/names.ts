/** @file What llama.cpp calls the tensors of each architecture, and how their numbers lie otherwise than in Hugging Face's files. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../model.ts';

type Names = Readonly<Record<string, string>>;

/** A tensor's numbers on their way from one kind of file to the other; what is done to rows is the same for a bias. */
export interface Change {
  toHuggingFace(numbers: Float32Array, shape: readonly number[]): Float32Array;
  toGguf(numbers: Float32Array, shape: readonly number[]): Float32Array;
  /** The two axes change places. */
  readonly turned: boolean;
}

/** An architecture as llama.cpp knows it. */
export interface Family {
  /** `general.architecture` */
  readonly name: string;
  /** Values of config.model_type that are written so; read again it is the first. */
  readonly modelTypes: readonly string[];
  /** Prefix of a layer: `model.layers.` */
  readonly layers: string;
  /** Their names to ours, below the layer and outside of them. */
  readonly block: Names;
  readonly whole: Names;
  /** Of the tensor by their name; undefined where its numbers are the same. */
  change(name: string, config: HfConfig): Change | undefined;
}

const WHOLE: Names = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};
const GATED: Names = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const HEAD_NORMS: Names = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' };
const GEMMA: Names = {
  ...GATED,
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};
const PHI3: Names = {
  attn_norm: 'input_layernorm',
  attn_qkv: 'self_attn.qkv_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.gate_up_proj',
  ffn_down: 'mlp.down_proj',
};

const added = (by: number) => (numbers: Float32Array) => numbers.map((value) => value + by);
/** Norms whose stored weight is what is added to 1: llama.cpp keeps the sum. */
const ONE_MORE: Change = { toHuggingFace: added(-1), toGguf: added(1), turned: false };
/** GPT-2 keeps its linear layers as [in, out], llama.cpp as [out, in]. */
const TURNED: Change = { toHuggingFace: transpose, toGguf: transpose, turned: true };

const same = (): undefined => undefined;
const gated = (name: string, modelTypes: readonly string[], block: Names, change: Family['change'] = same): Family => ({
  name,
  modelTypes,
  layers: 'model.layers.',
  block,
  whole: WHOLE,
  change,
});
const gemmaNorm: Family['change'] = (name) => (/norm\.weight$/.test(name) ? ONE_MORE : undefined);

const FAMILIES: readonly Family[] = [
  gated('llama', ['llama', 'mistral'], GATED, interleaved),
  gated('qwen2', ['qwen2'], GATED),
  gated('qwen3', ['qwen3'], { ...GATED, ...HEAD_NORMS }),
  gated('gemma2', ['gemma2'], GEMMA, gemmaNorm),
  gated('gemma3', ['gemma3_text'], { ...GEMMA, ...HEAD_NORMS }, gemmaNorm),
  gated('phi3', ['phi3'], PHI3),
  {
    name: 'gpt2',
    modelTypes: ['gpt2'],
    layers: 'transformer.h.',
    block: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    whole: {
      'token_embd.weight': 'transformer.wte.weight',
      'position_embd.weight': 'transformer.wpe.weight',
      'output_norm.weight': 'transformer.ln_f.weight',
      'output_norm.bias': 'transformer.ln_f.bias',
      'output.weight': 'lm_head.weight',
    },
    change: (name) => (/\.(attn_qkv|attn_output|ffn_up|ffn_down)\.weight$/.test(name) ? TURNED : undefined),
  },
];

export const FAMILY_NAMES: readonly string[] = FAMILIES.map(({ name }) => name);
export const familyNamed = (name: string): Family | undefined => FAMILIES.find((family) => family.name === name);
export const familyOf = (config: HfConfig): Family | undefined =>
  FAMILIES.find(({ modelTypes }) => modelTypes.some((type) => type === config['model_type']));

/** Tables that are worked out from the config, which `configOf` reads where nothing else tells. */
export const COMPUTED = /^rope_(freqs|factors_long|factors_short)\.weight$|\.attn_rot_embd\.weight$/;

/** The Hugging Face name; undefined for what has none, such as tables that are computed. */
export function huggingFaceName({ layers, block, whole }: Family, name: string): string | undefined {
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return part === undefined ? whole[name] : block[part] && `${layers}${layer}.${block[part]}.${kind}`;
}

/** llama.cpp's name of a Hugging Face name; undefined for what it has none for. */
export function ggufName({ layers, block, whole }: Family, name: string): string | undefined {
  const theirs = (names: Names, ours: string): string | undefined =>
    Object.keys(names).find((key) => names[key] === ours);
  if (!name.startsWith(layers)) return theirs(whole, name);
  const [, layer, part, kind] = /^(\d+)\.(.+)\.(weight|bias)$/.exec(name.slice(layers.length)) ?? [];
  const found = part === undefined ? undefined : theirs(block, part);
  return found && `blk.${layer}.${found}.${kind}`;
}

/** llama.cpp turns neighbouring pairs in models of this family, transformers halves: conversion interleaves the rows of q and k of each head. */
function interleaved(name: string, config: HfConfig): Change | undefined {
  const [, which] = /\.attn_([qk])\.(?:weight|bias)$/.exec(name) ?? [];
  if (which === undefined) return undefined;
  const queries = Number(config['num_attention_heads']);
  const heads = which === 'q' ? queries : Number(config['num_key_value_heads'] ?? queries);
  const width = (shape: readonly number[]): number => (shape.length === 1 ? 1 : shape.at(-1)!);
  return {
    toHuggingFace: (numbers, shape) => reorder(numbers, heads, width(shape), false),
    toGguf: (numbers, shape) => reorder(numbers, heads, width(shape), true),
    turned: false,
  };
}

/** `weights` is [heads * headDim, width]. @throws FORMAT_INVALID where the rows do not divide into heads. */
function reorder(weights: Float32Array, heads: number, width: number, interleave: boolean): Float32Array {
  const out = new Float32Array(weights.length);
  const headDim = weights.length / width / heads;
  if (!Number.isInteger(headDim / 2))
    throw new FettleError(
      'FORMAT_INVALID',
      `${weights.length / width} rows do not divide into ${heads} heads.`,
      'Get the file again from where it came.',
    );
  for (let head = 0; head < heads; head++)
    for (let pair = 0; pair < headDim / 2; pair++)
      for (let side = 0; side < 2; side++) {
        const theirs = (head * headDim + 2 * pair + side) * width;
        const ours = (head * headDim + (side * headDim) / 2 + pair) * width;
        const [from, to] = interleave ? [ours, theirs] : [theirs, ours];
        out.set(weights.subarray(from, from + width), to);
      }
  return out;
}

/** `shape` is that of `numbers`. */
function transpose(numbers: Float32Array, shape: readonly number[]): Float32Array {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(numbers.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = numbers[row * columns + column]!;
  return out;
}
