/** @file Qwen3 (Yang et al. 2025), dense: Llama's block with each head of q and k normalised before it is turned. */
import type { HfConfig } from '../../formats/model.ts';
import { activation, projectionsOf, readSizes } from './common.ts';
import { count, flag, positive } from '../../formats/config.ts';
import { gatedDecoder } from './llama.ts';
import { upperWindows } from './qwen2.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' Qwen3Config. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'hidden_act', ['silu']);
  const sizes = readSizes(config, { maxPositions: 32768, headDim: 128 });
  const bias = flag(config, 'attention_bias', false);
  return gatedDecoder('qwen3', sizes, {
    projections: projectionsOf(sizes, count(config, 'intermediate_size'), { qkv: bias, o: bias }),
    kinds: upperWindows(config, sizes.layers, readRotary(config, sizes)),
    epsilon: positive(config, 'rms_norm_eps', 1e-6),
    tied: flag(config, 'tie_word_embeddings', false),
    headNorms: true,
  });
}

export const qwen3: Architecture = { modelTypes: ['qwen3'], classes: ['Qwen3ForCausalLM'], read };
