/** @file What llama.cpp calls the parts of a Llama, and the config that transformers would write for it. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../model.ts';
import type { GgufHeader, GgufTensor, GgufValue } from './read.ts';

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

/** The Hugging Face name; undefined for what has none, such as tables that are computed. */
export function huggingFaceName(name: string): string | undefined {
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return part === undefined ? WHOLE[name] : BLOCK[part] && `model.layers.${layer}.${BLOCK[part]}.${kind}`;
}

/**
 * llama.cpp turns neighbouring pairs, transformers turns halves: conversion interleaves the rows of q and k of each head.
 * Puts them back. `weights` is [heads * headDim, width]; width 1 for a bias.
 */
export function unpermute(weights: Float32Array, heads: number, width: number): Float32Array {
  const out = new Float32Array(weights.length);
  const headDim = weights.length / width / heads;
  for (let head = 0; head < heads; head++)
    for (let pair = 0; pair < headDim / 2; pair++)
      for (let side = 0; side < 2; side++) {
        const from = (head * headDim + 2 * pair + side) * width;
        const to = (head * headDim + (side * headDim) / 2 + pair) * width;
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

/** Where a file holds another architecture, only its name: the engine refuses it by that. */
export function configOf({ metadata, tensors }: GgufHeader): HfConfig {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    throw new FettleError('FORMAT_INVALID', 'The GGUF file does not say what architecture it holds.', 'Get the file again from where it came.');
  if (architecture !== 'llama') return { model_type: architecture };
  const number = (key: string): number | undefined => {
    const value = metadata.get(`llama.${key}`);
    return typeof value === 'number' ? value : undefined;
  };
  const tensor = (name: string): GgufTensor | undefined => tensors.find((each) => each.name === name);
  const heads = number('attention.head_count');
  const scaling = metadata.get('llama.rope.scaling.type');
  const config: Record<string, unknown> = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: number('attention.head_count_kv') ?? heads,
    head_dim: number('attention.key_length') ?? number('rope.dimension_count'),
    max_position_embeddings: number('context_length'),
    rms_norm_eps: shortest(number('attention.layer_norm_rms_epsilon')),
    rope_theta: number('rope.freq_base') ?? 10000,
    vocab_size: tensor('token_embd.weight')?.shape[0] ?? number('vocab_size'),
    tie_word_embeddings: tensor('output.weight') === undefined,
    attention_bias: tensor('blk.0.attn_q.bias') !== undefined,
    mlp_bias: tensor('blk.0.ffn_up.bias') !== undefined,
    bos_token_id: id(metadata.get('tokenizer.ggml.bos_token_id')),
    eos_token_id: id(metadata.get('tokenizer.ggml.eos_token_id')),
  };
  // Llama 3's scaling travels as a table of factors; other kinds by name.
  const kind = tensor('rope_freqs.weight') ? 'llama3' : typeof scaling === 'string' && scaling !== 'none' ? scaling : undefined;
  if (kind !== undefined) config['rope_scaling'] = { rope_type: kind };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

const id = (value: GgufValue | undefined): number | undefined => (typeof value === 'number' ? value : undefined);
/** A float32 as its shortest decimal: 9.99999974e-6 was written as 1e-5. */
const shortest = (value: number | undefined): number | undefined => (value === undefined ? undefined : Number(value.toPrecision(7)));
