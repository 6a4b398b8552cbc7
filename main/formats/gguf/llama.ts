/** @file What llama.cpp calls the parts of a Llama, and the config that transformers would write for it. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../model.ts';
import type { GgufHeader, GgufTensor, GgufValue } from './read.ts';
import type { Metadata } from './write.ts';

const BLOCK: Readonly<Record<string, string>> = {
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
const WHOLE: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

/** Tables that are worked out from the config; Llama 3's scaling among them, which `configOf` tells of. */
export const COMPUTED = /^rope_freqs\.weight$|\.attn_rot_embd\.weight$/;

/** The Hugging Face name; undefined for what has none, such as tables that are computed. */
export function huggingFaceName(name: string): string | undefined {
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return part === undefined ? WHOLE[name] : BLOCK[part] && `model.layers.${layer}.${BLOCK[part]}.${kind}`;
}

const LLAMA_CPP = {
  block: Object.fromEntries(Object.entries(BLOCK).map(([theirs, ours]) => [ours, theirs])),
  whole: Object.fromEntries(Object.entries(WHOLE).map(([theirs, ours]) => [ours, theirs])),
};

/** llama.cpp's name of a Hugging Face name; undefined for what it has none for. */
export function ggufName(name: string): string | undefined {
  const [, layer, part, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const found = part === undefined ? undefined : LLAMA_CPP.block[part];
  return found === undefined ? LLAMA_CPP.whole[name] : `blk.${layer}.${found}.${kind}`;
}

/**
 * llama.cpp turns neighbouring pairs, transformers turns halves: conversion interleaves the rows of q and k of each head.
 * Puts them back. `weights` is [heads * headDim, width]; width 1 for a bias.
 * @throws FORMAT_INVALID where the rows do not divide into heads.
 */
export const unpermute = (weights: Float32Array, heads: number, width: number): Float32Array =>
  reorder(weights, heads, width, false);

/** The way there. @throws as unpermute */
export const permute = (weights: Float32Array, heads: number, width: number): Float32Array =>
  reorder(weights, heads, width, true);

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

/** Heads whose rows were interleaved in this tensor; 0 where none were. */
export function permutedHeads(name: string, config: HfConfig): number {
  if (config['model_type'] !== 'llama') return 0;
  if (/\.attn_q\.(weight|bias)$/.test(name)) return Number(config['num_attention_heads']);
  if (/\.attn_k\.(weight|bias)$/.test(name)) return Number(config['num_key_value_heads']);
  return 0;
}

/**
 * Keys as transformers writes them. Where a file holds another architecture, only its name: the engine refuses it by that.
 * @throws FORMAT_INVALID, MODEL_UNSUPPORTED
 */
export function configOf({ metadata, tensors }: GgufHeader): HfConfig {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    throw new FettleError(
      'FORMAT_INVALID',
      'The GGUF file does not say what architecture it holds.',
      'Get the file again from where it came.',
    );
  if (architecture !== 'llama') return { model_type: architecture };
  const number = (key: string): number | undefined => numberOf(metadata.get(`llama.${key}`), key);
  // llama.cpp gives the mixtures of experts the same name.
  if ((number('expert_count') ?? 0) > 0) return { model_type: 'mixtral' };
  const tensor = (name: string): GgufTensor | undefined => tensors.find((each) => each.name === name);
  const heads = number('attention.head_count');
  const headDim = number('attention.key_length') ?? (number('embedding_length') ?? 0) / (heads ?? 1);
  const valueDim = number('attention.value_length') ?? headDim;
  if (valueDim !== headDim)
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      `The model has keys of ${headDim} and values of ${valueDim} numbers.`,
      'Choose a model where they are alike.',
    );
  const turned = number('rope.dimension_count') ?? headDim;
  const config: Record<string, unknown> = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: number('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    max_position_embeddings: number('context_length'),
    rms_norm_eps: shortest(number('attention.layer_norm_rms_epsilon')),
    rope_theta: number('rope.freq_base') ?? 10000,
    rope_scaling: ropeScaling(metadata, tensor('rope_freqs.weight') !== undefined),
    partial_rotary_factor: turned === headDim ? undefined : turned / headDim,
    vocab_size: tensor('token_embd.weight')?.shape[0] ?? number('vocab_size'),
    tie_word_embeddings: tensor('output.weight') === undefined,
    attention_bias: tensor('blk.0.attn_q.bias') !== undefined,
    mlp_bias: tensor('blk.0.ffn_up.bias') !== undefined,
    bos_token_id: numberOf(metadata.get('tokenizer.ggml.bos_token_id'), 'bos_token_id'),
    eos_token_id: numberOf(metadata.get('tokenizer.ggml.eos_token_id'), 'eos_token_id'),
  };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

/** Llama 3's scaling travels as a table of factors, the others by name; undefined where there is none. */
function ropeScaling(metadata: GgufHeader['metadata'], table: boolean): HfConfig | undefined {
  if (table) return { rope_type: 'llama3' };
  // Files of before 2023-11 know linear scaling alone.
  const old = metadata.get('llama.rope.scale_linear') ?? 1;
  const kind = metadata.get('llama.rope.scaling.type') ?? (old === 1 ? 'none' : 'linear');
  return kind === 'none' ? undefined : { rope_type: kind, factor: metadata.get('llama.rope.scaling.factor') ?? old };
}

/** Some files give a number for each layer; where all are the same it is one. */
function numberOf(value: GgufValue | undefined, key: string): number | undefined {
  if (Array.isArray(value) && value.length > 0) {
    if (value.some((each) => each !== value[0]))
      throw new FettleError(
        'MODEL_UNSUPPORTED',
        `The layers of the model differ in ${key}.`,
        'Choose a model whose layers are alike.',
      );
    return numberOf(value[0], key);
  }
  return typeof value === 'number' ? value : undefined;
}

/** A float32 as its shortest decimal: 9.99999974e-6 was written as 1e-5. */
const shortest = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Number(value.toPrecision(7));

/**
 * A config as the keys of llama.cpp, the way back of `configOf`.
 * @throws EXPORT_UNSUPPORTED where the config says what the file cannot hold.
 */
export function metadataOf(config: HfConfig): Metadata {
  // transformers 5 writes `rope_parameters` in place of `rope_theta` and `rope_scaling`.
  const rope = { ...Object(config['rope_parameters']), ...Object(config['rope_scaling']) } as HfConfig;
  const scaled = (rope['rope_type'] ?? rope['type'] ?? 'default') !== 'default';
  if (config['model_type'] !== 'llama' || scaled)
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      scaled
        ? 'Models with scaled rotary positions cannot be written as GGUF yet.'
        : `Models of the architecture ${String(config['model_type'])} cannot be written as GGUF yet.`,
      'Export as safetensors: llama.cpp converts that folder.',
    );
  const number = (key: string, fallback?: number): number => {
    const value = config[key] ?? fallback;
    if (typeof value === 'number') return value;
    throw new FettleError('MODEL_INCOMPLETE', `The config has no ${key}.`, 'Add the model again.');
  };
  const heads = number('num_attention_heads');
  const headDim = number('head_dim', number('hidden_size') / heads);
  const whole = (key: string, value: number): Metadata[number] => [`llama.${key}`, ['uint32', value]];
  const real = (key: string, value: number): Metadata[number] => [`llama.${key}`, ['float32', value]];
  return [
    ['general.architecture', ['string', 'llama']],
    whole('block_count', number('num_hidden_layers')),
    whole('context_length', number('max_position_embeddings', 2048)),
    whole('embedding_length', number('hidden_size')),
    whole('feed_forward_length', number('intermediate_size')),
    whole('attention.head_count', heads),
    whole('attention.head_count_kv', number('num_key_value_heads', heads)),
    whole('attention.key_length', headDim),
    whole('attention.value_length', headDim),
    real('attention.layer_norm_rms_epsilon', number('rms_norm_eps', 1e-6)),
    whole('rope.dimension_count', headDim * number('partial_rotary_factor', 1)),
    real('rope.freq_base', number('rope_theta', Number(rope['rope_theta'] ?? 10000))),
    whole('vocab_size', number('vocab_size')),
  ];
}
