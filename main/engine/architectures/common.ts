/** @file What the architectures read alike from a config: sizes, separate projections, windows by layer. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../../formats/model.ts';
import { reshape, rmsNorm } from '../graph/ops/index.ts';
import type { Value } from '../graph/value.ts';
import { count, unsupported } from '../../formats/config.ts';
import type { LayerKind, ModelSpec, Projection, Vector } from './spec.ts';

export type Sizes = Pick<ModelSpec, 'hidden' | 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'vocab' | 'maxPositions'>;

/** @param fallback what the family takes where the config is silent. Throws FORMAT_INVALID. */
export function readSizes(
  config: HfConfig,
  fallback: { readonly maxPositions: number; readonly headDim?: number },
): Sizes {
  const hidden = count(config, 'hidden_size');
  const heads = count(config, 'num_attention_heads');
  const kvHeads = count(config, 'num_key_value_heads', heads);
  const headDim = count(config, 'head_dim', fallback.headDim ?? hidden / heads);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0)
    throw new FettleError(
      'FORMAT_INVALID',
      `config.json: ${heads} heads of ${headDim} with ${kvHeads} for keys and values do not fit together.`,
    );
  return {
    hidden,
    layers: count(config, 'num_hidden_layers'),
    heads,
    kvHeads,
    headDim,
    vocab: count(config, 'vocab_size'),
    maxPositions: count(config, 'max_position_embeddings', fallback.maxPositions),
  };
}

/** q, k and v; o; gate and up; down: by the names that most families share. */
export function projectionsOf(
  { hidden, heads, kvHeads, headDim }: Sizes,
  ffn: number,
  bias: { readonly qkv?: boolean; readonly o?: boolean; readonly mlp?: boolean } = {},
): Projection[] {
  const part = (module: string, path: string, to: number) => ({ module, path: `${path}.${module}`, to });
  const { qkv = false, o = false, mlp = false } = bias;
  return [
    {
      name: 'qkv',
      from: hidden,
      parts: [
        part('q_proj', 'self_attn', heads * headDim),
        part('k_proj', 'self_attn', kvHeads * headDim),
        part('v_proj', 'self_attn', kvHeads * headDim),
      ],
      bias: qkv,
    },
    { name: 'o', from: heads * headDim, parts: [part('o_proj', 'self_attn', hidden)], bias: o },
    { name: 'gateUp', from: hidden, parts: [part('gate_proj', 'mlp', ffn), part('up_proj', 'mlp', ffn)], bias: mlp },
    { name: 'down', from: ffn, parts: [part('down_proj', 'mlp', hidden)], bias: mlp },
  ];
}

/** Weights around the blocks, by the names that most families share. */
export const namesOf = (tied: boolean): Pick<ModelSpec, 'layer' | 'names'> => ({
  layer: (index) => `model.layers.${index}.`,
  names: {
    embedding: 'model.embed_tokens.weight',
    positions: undefined,
    head: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',
  },
});

/** Weights that normalise the heads of q and k. */
export const headNormVectors = (headDim: number): Vector[] => [
  { name: 'qNorm', path: 'self_attn.q_norm.weight', size: headDim },
  { name: 'kNorm', path: 'self_attn.k_norm.weight', size: headDim },
];

/** Root mean square normalisation over each head of x [rows, heads * headDim] by itself. */
export function normHeads(x: Value, headDim: number, weight: Value, epsilon: number): Value {
  const byHead = reshape(x, [x.shape[0]!, x.shape[1]! / headDim, headDim]);
  return reshape(rmsNorm(byHead, weight, epsilon), x.shape);
}

/** `sliding_attention` or `full_attention` for each layer, where the config lists them. Throws FORMAT_INVALID. */
export function layerTypes(config: HfConfig, layers: number, fallback: (layer: number) => boolean): boolean[] {
  const given = config['layer_types'];
  if (given === undefined || given === null) return Array.from({ length: layers }, (_, layer) => fallback(layer));
  if (!Array.isArray(given) || given.length !== layers)
    throw new FettleError('FORMAT_INVALID', `config.json: layer_types does not name the ${layers} layers.`);
  return given.map((type) => {
    if (type !== 'sliding_attention' && type !== 'full_attention')
      return unsupported(
        `Layers that attend by ${JSON.stringify(type)} are not supported.`,
        'Supported: full_attention, sliding_attention.',
      );
    return type === 'sliding_attention';
  });
}

/** Layers that are all of one kind. */
export const oneKind = (layers: number, kind: LayerKind): LayerKind[] => new Array<LayerKind>(layers).fill(kind);

/** Layers of two kinds. @param sliding for each layer. @param local rotary positions of those with a window. */
export function kindsOf(
  sliding: readonly boolean[],
  full: LayerKind['rotary'],
  window: number,
  local = full,
): LayerKind[] {
  const [wide, narrow]: LayerKind[] = [
    { rotary: full, window: undefined },
    { rotary: local, window },
  ];
  return sliding.map((is) => (is ? narrow! : wide!));
}

/** The activation that a config names, which must be one of `known`. Throws MODEL_UNSUPPORTED. */
export function activation(config: HfConfig, key: string, known: readonly string[]): void {
  const found = config[key] ?? known[0]!;
  if (typeof found !== 'string' || !known.includes(found))
    unsupported(`The activation ${JSON.stringify(found)} is not supported here.`, `Supported: ${known.join(', ')}.`);
}
