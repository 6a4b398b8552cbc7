/** @file Phi-3, Phi-3.5 and Phi-4 mini (Abdin et al. 2024): Llama's block with q, k and v in one layer, gate and up in another, and LongRoPE. */
import type { HfConfig } from '../../formats/model.ts';
import { mul, rmsNorm, silu, split } from '../graph/ops/index.ts';
import { activation, oneKind, readSizes } from './common.ts';
import { count, flag, positive } from '../../formats/config.ts';
import { gatedDecoder } from './llama.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' Phi3Config. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'hidden_act', ['silu']);
  const sizes = readSizes(config, { maxPositions: 4096 });
  const { hidden, heads, kvHeads, headDim } = sizes;
  const ffn = count(config, 'intermediate_size');
  const epsilon = positive(config, 'rms_norm_eps', 1e-5);
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  const one = (module: string, path: string, to: number) => [{ module, path: `${path}.${module}`, to }];
  const plain = gatedDecoder('phi3', sizes, {
    projections: [
      { name: 'qkv', from: hidden, parts: one('qkv_proj', 'self_attn', q + 2 * kv), bias: false },
      { name: 'o', from: q, parts: one('o_proj', 'self_attn', hidden), bias: false },
      { name: 'gateUp', from: hidden, parts: one('gate_up_proj', 'mlp', 2 * ffn), bias: false },
      { name: 'down', from: ffn, parts: one('down_proj', 'mlp', hidden), bias: false },
    ],
    kinds: oneKind(sizes.layers, {
      rotary: readRotary({ original_max_position_embeddings: 4096, ...config, ...longrope(config) }, sizes),
      window: typeof config['sliding_window'] === 'number' ? count(config, 'sliding_window') : undefined,
    }),
    epsilon,
    tied: flag(config, 'tie_word_embeddings', false),
  });
  return {
    ...plain,
    block(b, x) {
      const [fused] = b.project('qkv', rmsNorm(x, b.vector('norm1'), epsilon));
      const [queries, keys, values] = split(fused!, [q, kv, kv], 1);
      const y = b.projectOnto(x, 'o', b.attend(queries!, keys!, values!));
      const [both] = b.project('gateUp', rmsNorm(y, b.vector('norm2'), epsilon));
      const [gate, up] = split(both!, [ffn, ffn], 1);
      return b.projectOnto(y, 'down', mul(silu(gate!), up!));
    },
  };
}

/** The first files called it `yarn`, which it never was. */
function longrope(config: HfConfig): HfConfig {
  const key = config['rope_scaling'] ? 'rope_scaling' : 'rope_parameters';
  const given = config[key] as HfConfig | undefined;
  const named = given?.['rope_type'] ?? given?.['type'];
  return named === 'yarn' ? { [key]: { ...given, rope_type: 'longrope' } } : {};
}

export const phi3: Architecture = { modelTypes: ['phi3'], classes: ['Phi3ForCausalLM'], read };
