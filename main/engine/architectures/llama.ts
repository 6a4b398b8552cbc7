/** @file Llama (Touvron et al. 2023), with grouped queries and rope scaling: Llama 2 and 3, SmolLM2. Forward only. */
import type { HfConfig } from '../../formats/model.ts';
import { mul, rmsNorm, silu } from '../graph/ops/index.ts';
import {
  activation,
  headNormVectors,
  namesOf,
  normHeads,
  oneKind,
  projectionsOf,
  readSizes,
  type Sizes,
} from './common.ts';
import type { Value } from '../graph/value.ts';
import { count, flag, positive } from '../../formats/config.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, LayerKind, ModelSpec, Projection } from './spec.ts';

/** Defaults are those of transformers' LlamaConfig. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'hidden_act', ['silu']);
  const sizes = readSizes(config, { maxPositions: 2048 });
  const attentionBias = flag(config, 'attention_bias', false);
  const bias = { qkv: attentionBias, o: attentionBias, mlp: flag(config, 'mlp_bias', false) };
  return gatedDecoder('llama', sizes, {
    projections: projectionsOf(sizes, count(config, 'intermediate_size'), bias),
    kinds: oneKind(sizes.layers, { rotary: readRotary(config, sizes), window: undefined }),
    epsilon: positive(config, 'rms_norm_eps', 1e-6),
    tied: flag(config, 'tie_word_embeddings', false),
  });
}

interface GatedDecoder {
  readonly projections: readonly Projection[];
  readonly kinds: readonly LayerKind[];
  readonly epsilon: number;
  readonly tied: boolean;
  /** Each head of q and k is normalised before it is turned. */
  readonly headNorms?: boolean;
}

/** Norm, attention, norm, gated feed-forward: Llama's block, which Mistral and Qwen have taken over. */
export function gatedDecoder(
  architecture: string,
  sizes: Sizes,
  { projections, kinds, epsilon, tied, headNorms = false }: GatedDecoder,
): ModelSpec {
  return {
    architecture,
    ...sizes,
    kinds,
    attention: { scale: 1 / Math.sqrt(sizes.headDim), softCap: undefined },
    logitSoftCap: undefined,
    projections,
    vectors: [
      { name: 'norm1', path: 'input_layernorm.weight', size: sizes.hidden },
      { name: 'norm2', path: 'post_attention_layernorm.weight', size: sizes.hidden },
      ...(headNorms ? headNormVectors(sizes.headDim) : []),
    ],
    transposed: false,
    ...namesOf(tied),
    embeddingScale: 1,
    finalVectors: [{ name: 'finalNorm', path: 'model.norm.weight', size: sizes.hidden }],
    finalNorm: (b, x) => rmsNorm(x, b.vector('finalNorm'), epsilon),
    block(b, x) {
      const [q, k, v] = b.project('qkv', rmsNorm(x, b.vector('norm1'), epsilon));
      const byHead = (name: string, each: Value): Value =>
        headNorms ? normHeads(each, sizes.headDim, b.vector(name), epsilon) : each;
      const y = b.projectOnto(x, 'o', b.attend(byHead('qNorm', q!), byHead('kNorm', k!), v!));
      const [gate, up] = b.project('gateUp', rmsNorm(y, b.vector('norm2'), epsilon));
      return b.projectOnto(y, 'down', mul(silu(gate!), up!));
    },
  };
}

export const llama: Architecture = { modelTypes: ['llama'], classes: ['LlamaForCausalLM'], read };
