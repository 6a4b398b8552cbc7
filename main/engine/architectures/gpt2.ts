/** @file GPT-2 (Radford et al. 2019): learned positions, LayerNorm with bias, one layer for q, k and v, weights kept as [in, out]. */
import type { HfConfig } from '../../formats/model.ts';
import { gelu, layerNorm, split } from '../graph/ops/index.ts';
import type { Value } from '../graph/value.ts';
import { activation, oneKind } from './common.ts';
import { count, flag, positive, unsupported } from '../../formats/config.ts';
import type { Architecture, ModelSpec, Vector, Vectors } from './spec.ts';

/** Defaults are those of transformers' GPT2Config. */
function read(config: HfConfig): ModelSpec {
  activation(config, 'activation_function', ['gelu_new', 'gelu_pytorch_tanh']);
  if (flag(config, 'add_cross_attention', false) || flag(config, 'scale_attn_by_inverse_layer_idx', false))
    unsupported(
      'GPT-2 models with cross-attention or scores scaled by layer are not supported.',
      'Choose another model.',
    );
  const hidden = count(config, 'n_embd', 768);
  const layers = count(config, 'n_layer', 12);
  const heads = count(config, 'n_head', 12);
  if (hidden % heads !== 0)
    unsupported(`${hidden} numbers do not divide into ${heads} heads.`, 'Choose another model.');
  const headDim = hidden / heads;
  const ffn = count(config, 'n_inner', 4 * hidden);
  const epsilon = positive(config, 'layer_norm_epsilon', 1e-5);
  const maxPositions = count(config, 'n_positions', 1024);
  const norm = (b: Vectors, name: string, x: Value): Value =>
    layerNorm(x, b.vector(name), b.vector(`${name}.bias`), epsilon);
  const vectors = (name: string, path: string): Vector[] => [
    { name, path: `${path}.weight`, size: hidden },
    { name: `${name}.bias`, path: `${path}.bias`, size: hidden },
  ];
  const one = (module: string, path: string, to: number) => [{ module, path: `${path}.${module}`, to }];
  const embedding = 'transformer.wte.weight';
  return {
    architecture: 'gpt2',
    hidden,
    layers,
    heads,
    kvHeads: heads,
    headDim,
    vocab: count(config, 'vocab_size', 50257),
    maxPositions,
    kinds: oneKind(layers, { rotary: undefined, window: undefined }),
    attention: { scale: flag(config, 'scale_attn_weights', true) ? 1 / Math.sqrt(headDim) : 1, softCap: undefined },
    logitSoftCap: undefined,
    projections: [
      { name: 'qkv', from: hidden, parts: one('c_attn', 'attn', 3 * hidden), bias: true },
      { name: 'o', from: hidden, parts: one('c_proj', 'attn', hidden), bias: true },
      { name: 'up', from: hidden, parts: one('c_fc', 'mlp', ffn), bias: true },
      { name: 'down', from: ffn, parts: one('c_proj', 'mlp', hidden), bias: true },
    ],
    vectors: [...vectors('norm1', 'ln_1'), ...vectors('norm2', 'ln_2')],
    transposed: true,
    layer: (index) => `transformer.h.${index}.`,
    names: {
      embedding,
      positions: 'transformer.wpe.weight',
      head: flag(config, 'tie_word_embeddings', true) ? embedding : 'lm_head.weight',
    },
    embeddingScale: 1,
    finalVectors: vectors('finalNorm', 'transformer.ln_f'),
    finalNorm: (b, x) => norm(b, 'finalNorm', x),
    block(b, x) {
      const [fused] = b.project('qkv', norm(b, 'norm1', x));
      const [q, k, v] = split(fused!, [hidden, hidden, hidden], 1);
      const y = b.projectOnto(x, 'o', b.attend(q!, k!, v!));
      const [up] = b.project('up', norm(b, 'norm2', y));
      return b.projectOnto(y, 'down', gelu(up!));
    },
  };
}

export const gpt2: Architecture = { modelTypes: ['gpt2'], classes: ['GPT2LMHeadModel'], read };
