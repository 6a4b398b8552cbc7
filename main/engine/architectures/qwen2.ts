/** @file Qwen2 and Qwen2.5 (Yang et al. 2024): Llama's block with a bias on q, k and v; some have windows in the upper layers. */
import type { HfConfig } from '../../formats/model.ts';
import { activation, kindsOf, layerTypes, projectionsOf, readSizes } from './common.ts';
import { count, flag, positive } from '../../formats/config.ts';
import { gatedDecoder } from './llama.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, LayerKind, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' Qwen2Config. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'hidden_act', ['silu']);
  const sizes = readSizes(config, { maxPositions: 32768 });
  return gatedDecoder('qwen2', sizes, {
    projections: projectionsOf(sizes, count(config, 'intermediate_size'), { qkv: true }),
    kinds: upperWindows(config, sizes.layers, readRotary(config, sizes)),
    epsilon: positive(config, 'rms_norm_eps', 1e-6),
    tied: flag(config, 'tie_word_embeddings', false),
  });
}

/** Only where `use_sliding_window` says so, from layer `max_window_layers` on. */
export function upperWindows(config: HfConfig, layers: number, rotary: LayerKind['rotary']): LayerKind[] {
  const windowed = flag(config, 'use_sliding_window', false) && config['sliding_window'] !== null;
  const from = windowed ? Number(config['max_window_layers'] ?? 28) : layers;
  const sliding = windowed
    ? layerTypes(config, layers, (layer) => layer >= from)
    : new Array<boolean>(layers).fill(false);
  return kindsOf(sliding, rotary, windowed ? count(config, 'sliding_window', 4096) : 0);
}

export const qwen2: Architecture = { modelTypes: ['qwen2'], classes: ['Qwen2ForCausalLM'], read };
