/** @file Mistral 7B and its like (Jiang et al. 2023): Llama's block, where the config says so with a sliding window in every layer. */
import type { HfConfig } from '../../formats/model.ts';
import { activation, oneKind, projectionsOf, readSizes } from './common.ts';
import { count, flag, positive } from '../../formats/config.ts';
import { gatedDecoder } from './llama.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' MistralConfig; `sliding_window: null` means none. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'hidden_act', ['silu']);
  const sizes = readSizes(config, { maxPositions: 4096 * 32 });
  return gatedDecoder('mistral', sizes, {
    projections: projectionsOf(sizes, count(config, 'intermediate_size')),
    kinds: oneKind(sizes.layers, {
      rotary: readRotary(config, sizes),
      window: config['sliding_window'] === null ? undefined : count(config, 'sliding_window', 4096),
    }),
    epsilon: positive(config, 'rms_norm_eps', 1e-6),
    tied: flag(config, 'tie_word_embeddings', false),
  });
}

export const mistral: Architecture = { modelTypes: ['mistral'], classes: ['MistralForCausalLM'], read };
