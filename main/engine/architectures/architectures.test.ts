/** @file Configs as the families' own files have them, older and newer spellings: what the engine reads of them, and what it refuses. */
import { describe, expect, it } from 'vitest';
import type { HfConfig } from '../../formats/model.ts';
import { SUPPORTED, readSpec } from './index.ts';
import { modulesOf } from './spec.ts';

const LINEARS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const FUSED = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'];
const count = (list: readonly unknown[], wanted: (each: never) => boolean): number =>
  list.filter((each) => wanted(each as never)).length;

const LLAMA = {
  model_type: 'llama',
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-5,
  rope_theta: 500000.0,
};
const LLAMA3 = { factor: 32.0, high_freq_factor: 4.0, low_freq_factor: 1.0, original_max_position_embeddings: 8192 };
const GEMMA3 = {
  model_type: 'gemma3_text',
  hidden_size: 1152,
  intermediate_size: 6912,
  num_hidden_layers: 26,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 512,
  vocab_size: 262144,
  max_position_embeddings: 32768,
  hidden_activation: 'gelu_pytorch_tanh',
};
const factors = (to: number): number[] => Array.from({ length: 48 }, (_, i) => 1 + (i * to) / 48);
const PHI3 = {
  model_type: 'phi3',
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  vocab_size: 32064,
  rms_norm_eps: 1e-5,
  rope_theta: 10000.0,
};

describe('the config of', () => {
  it.each<[string, HfConfig, object, readonly string[]]>([
    [
      'Llama 3.2',
      { ...LLAMA, tie_word_embeddings: true, rope_scaling: { ...LLAMA3, rope_type: 'llama3' } },
      { architecture: 'llama', headDim: 64, maxPositions: 131072, names: { head: 'model.embed_tokens.weight' } },
      LINEARS,
    ],
    [
      'Mistral 7B',
      { ...LLAMA, model_type: 'mistral', vocab_size: 32000, sliding_window: 4096 },
      { architecture: 'mistral', names: { head: 'lm_head.weight' } },
      LINEARS,
    ],
    [
      'Qwen2.5',
      { ...LLAMA, model_type: 'qwen2', use_sliding_window: false, sliding_window: 32768, max_window_layers: 21 },
      { architecture: 'qwen2' },
      LINEARS,
    ],
    ['Qwen3', { ...LLAMA, model_type: 'qwen3', sliding_window: null }, { headDim: 128, heads: 32 }, LINEARS],
    [
      'Gemma 2',
      {
        ...LLAMA,
        model_type: 'gemma2',
        head_dim: 256,
        num_hidden_layers: 26,
        hidden_act: 'gelu_pytorch_tanh',
        attn_logit_softcapping: 50.0,
        final_logit_softcapping: 30.0,
        sliding_window: 4096,
      },
      { attention: { scale: 1 / 16, softCap: 50 }, logitSoftCap: 30, embeddingScale: Math.sqrt(2048) },
      LINEARS,
    ],
    ['Gemma 3', GEMMA3, { architecture: 'gemma3_text', logitSoftCap: undefined, headDim: 256 }, LINEARS],
    ['Phi-3 mini', { ...PHI3, sliding_window: 2047, rope_scaling: null }, { architecture: 'phi3', headDim: 96 }, FUSED],
    [
      'GPT-2',
      { model_type: 'gpt2', n_embd: 768, n_head: 12, n_layer: 12, n_positions: 1024, n_ctx: 1024, vocab_size: 50257 },
      { hidden: 768, layers: 12, heads: 12, headDim: 64, maxPositions: 1024, transposed: true },
      ['c_attn', 'c_proj', 'c_fc'],
    ],
  ])('%s', (_, config, wanted, modules) => {
    const spec = readSpec(config);
    expect(spec).toMatchObject(wanted);
    expect(modulesOf(spec)).toEqual(modules);
    expect(spec.kinds).toHaveLength(spec.layers);
  });
});

describe('windows', () => {
  it('are in every layer of Mistral, every other one of Gemma 2, and five of six of Gemma 3', () => {
    const windows = (config: HfConfig): number =>
      count(readSpec(config).kinds, ({ window }: { window?: number }) => window !== undefined);
    expect(windows({ ...LLAMA, model_type: 'mistral', sliding_window: 4096 })).toBe(16);
    expect(windows({ ...LLAMA, model_type: 'mistral', sliding_window: null })).toBe(0);
    expect(windows({ ...LLAMA, model_type: 'gemma2', num_hidden_layers: 26 })).toBe(13);
    expect(windows(GEMMA3)).toBe(22);
    expect(windows({ ...LLAMA, model_type: 'qwen2', use_sliding_window: true, max_window_layers: 10 })).toBe(6);
    expect(windows({ ...LLAMA, model_type: 'qwen2', sliding_window: 4096 })).toBe(0);
  });
});

describe('rotary positions are the same in both spellings', () => {
  const { rope_theta, ...bare } = LLAMA;
  const long = { long_factor: factors(30), short_factor: factors(0.3) };
  it.each<[string, HfConfig, HfConfig]>([
    [
      'llama3',
      { ...LLAMA, rope_scaling: { ...LLAMA3, rope_type: 'llama3' } },
      { ...bare, rope_parameters: { ...LLAMA3, rope_type: 'llama3', rope_theta } },
    ],
    [
      'yarn',
      { ...LLAMA, rope_scaling: { type: 'yarn', factor: 4.0, original_max_position_embeddings: 32768 } },
      {
        ...bare,
        rope_parameters: { rope_type: 'yarn', factor: 4.0, original_max_position_embeddings: 32768, rope_theta },
      },
    ],
    [
      'gemma3',
      { ...GEMMA3, rope_theta: 1e6, rope_local_base_freq: 10000.0, rope_scaling: { rope_type: 'linear', factor: 8.0 } },
      {
        ...GEMMA3,
        rope_parameters: {
          full_attention: { rope_type: 'linear', factor: 8.0, rope_theta: 1e6 },
          sliding_attention: { rope_type: 'default', rope_theta: 1e4 },
        },
      },
    ],
    [
      'longrope',
      {
        ...PHI3,
        max_position_embeddings: 131072,
        original_max_position_embeddings: 4096,
        rope_scaling: { ...long, type: 'su' },
      },
      {
        ...PHI3,
        max_position_embeddings: 131072,
        original_max_position_embeddings: 4096,
        rope_parameters: { ...long, rope_type: 'longrope', rope_theta: 10000, original_max_position_embeddings: 4096 },
      },
    ],
  ])('%s', (_, older, newer) => {
    expect(readSpec(newer).kinds).toEqual(readSpec(older).kinds);
    expect(readSpec(newer).kinds[0]!.rotary).not.toEqual(readSpec(LLAMA).kinds[0]!.rotary);
  });

  it('and change at the length that LongRoPE names, by its factors', () => {
    const spec = readSpec({
      ...PHI3,
      max_position_embeddings: 131072,
      original_max_position_embeddings: 4096,
      rope_scaling: { ...long, type: 'longrope' },
    });
    const { rotary } = spec.kinds[0]!;
    expect(rotary!.long!.after).toBe(4096);
    expect(rotary!.frequencies[24]! / rotary!.long!.frequencies[24]!).toBeCloseTo(16 / 1.15);
    expect(rotary!.factor).toBeCloseTo(Math.sqrt(1 + Math.log(32) / Math.log(4096)));
  });
});

describe('refused by name is', () => {
  it.each<[string, HfConfig, string]>([
    ['a family that is not known', { ...LLAMA, model_type: 'mamba' }, 'mamba'],
    ['Gemma 3 with pictures', { ...GEMMA3, model_type: 'gemma3' }, 'gemma3'],
    [
      'rope scaling that changes with the text',
      { ...LLAMA, rope_scaling: { rope_type: 'dynamic', factor: 2 } },
      'dynamic',
    ],
    ['another activation', { ...LLAMA, hidden_act: 'relu' }, 'relu'],
    ['attention to what comes later', { ...GEMMA3, use_bidirectional_attention: true }, 'later'],
    ['GPT-2 with cross-attention', { model_type: 'gpt2', add_cross_attention: true }, 'cross-attention'],
  ])('%s', (_, config, words) => {
    expect(() => readSpec(config)).toThrow(
      expect.objectContaining({ code: 'MODEL_UNSUPPORTED', message: expect.stringContaining(words) as unknown }),
    );
  });

  it('and the families that are known are told', () => {
    expect(SUPPORTED).toEqual(['llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3_text', 'phi3', 'gpt2']);
    expect(() => readSpec({ model_type: 'mamba' })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('gemma3_text') as unknown }),
    );
  });
});
