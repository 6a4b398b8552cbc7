/** @file Gemma 2 (Gemma Team 2024): norms before and after each half, soft caps on scores and logits, a window in every other layer. */
import type { HfConfig } from '../../formats/model.ts';
import { add, gelu, mul, rmsNorm } from '../graph/ops/index.ts';
import type { Value } from '../graph/value.ts';
import {
  activation,
  headNormVectors,
  kindsOf,
  layerTypes,
  namesOf,
  normHeads,
  projectionsOf,
  readSizes,
  type Sizes,
} from './common.ts';
import { count, flag, positive, unsupported } from '../../formats/config.ts';
import { readRotary } from '../../formats/rotary.ts';
import type { Architecture, LayerKind, ModelSpec, Vectors } from './spec.ts';

/** Defaults are those of transformers' Gemma2Config. */
function read(config: HfConfig): ModelSpec {
  const sizes = readSizes(config, { maxPositions: 8192, headDim: 256 });
  const sliding = layerTypes(config, sizes.layers, (layer) => layer % 2 === 0);
  const kinds = kindsOf(sliding, readRotary(config, sizes), count(config, 'sliding_window', 4096));
  return gemmaDecoder(config, 'gemma2', sizes, kinds, { scores: 50, logits: 30 });
}

/** A soft cap; `null` in the config means none. */
const cap = (config: HfConfig, key: string, fallback: number | undefined): number | undefined =>
  config[key] === null || (config[key] === undefined && fallback === undefined)
    ? undefined
    : positive(config, key, fallback ?? 0);

interface GemmaDecoder {
  /** Soft caps where the config is silent. */
  readonly scores?: number;
  readonly logits?: number;
  /** Each head of q and k is normalised before it is turned. */
  readonly headNorms?: boolean;
}

/** What Gemma 2 and 3 have in common. */
export function gemmaDecoder(
  config: HfConfig,
  architecture: string,
  sizes: Sizes,
  kinds: readonly LayerKind[],
  { scores, logits, headNorms = false }: GemmaDecoder,
): ModelSpec {
  activation(config, 'hidden_activation', ['gelu_pytorch_tanh']);
  if (config['use_bidirectional_attention'] === true)
    unsupported('The model attends to what comes later too.', 'Choose a model that reads from left to right.');
  const { hidden } = sizes;
  const epsilon = positive(config, 'rms_norm_eps', 1e-6);
  const bias = flag(config, 'attention_bias', false);
  const ffn = count(config, 'intermediate_size');
  // The weight as stored is what is added to 1.
  const norm = (b: Vectors, name: string, x: Value): Value => rmsNorm(x, onePlus(b.vector(name)), epsilon);
  return {
    architecture,
    ...sizes,
    kinds,
    attention: {
      scale: positive(config, 'query_pre_attn_scalar', 256) ** -0.5,
      softCap: cap(config, 'attn_logit_softcapping', scores),
    },
    logitSoftCap: cap(config, 'final_logit_softcapping', logits),
    projections: projectionsOf(sizes, ffn, { qkv: bias, o: bias }),
    vectors: [
      { name: 'norm1', path: 'input_layernorm.weight', size: hidden },
      { name: 'norm1.after', path: 'post_attention_layernorm.weight', size: hidden },
      { name: 'norm2', path: 'pre_feedforward_layernorm.weight', size: hidden },
      { name: 'norm2.after', path: 'post_feedforward_layernorm.weight', size: hidden },
      ...(headNorms ? headNormVectors(sizes.headDim) : []),
    ],
    transposed: false,
    ...namesOf(flag(config, 'tie_word_embeddings', true)),
    embeddingScale: Math.sqrt(hidden),
    finalVectors: [{ name: 'finalNorm', path: 'model.norm.weight', size: hidden }],
    finalNorm: (b, x) => norm(b, 'finalNorm', x),
    block(b, x) {
      const [q, k, v] = b.project('qkv', norm(b, 'norm1', x));
      const byHead = (name: string, each: Value): Value =>
        headNorms ? normHeads(each, sizes.headDim, onePlus(b.vector(name)), epsilon) : each;
      const [attended] = b.project('o', b.attend(byHead('qNorm', q!), byHead('kNorm', k!), v!));
      const y = add(x, norm(b, 'norm1.after', attended!));
      const [gate, up] = b.project('gateUp', norm(b, 'norm2', y));
      const [fed] = b.project('down', mul(gelu(gate!), up!));
      return add(y, norm(b, 'norm2.after', fed!));
    },
  };
}

/** 1 + w. */
const onePlus = (w: Value): Value => add(w, w.scope.scalar(1));

export const gemma2: Architecture = { modelTypes: ['gemma2'], classes: ['Gemma2ForCausalLM'], read };
