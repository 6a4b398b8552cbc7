/** @file Reads a base model's weights into tensors that all its uses share, with the parts of a projection side by side. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { WeightSource } from '../../formats/model.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { sameShape, sizeOf, type Shape } from '../graph/value.ts';
import { tensorNames } from '../layers/block.ts';
import { numbers, tensor, type Tensors } from '../segments/session.ts';

export interface BaseWeights {
  /** [vocab, hidden] */
  readonly embedding: Tensor;
  /** [hidden] */
  readonly finalNorm: Tensor;
  /** [vocab, hidden]; the embedding itself where the head is tied. */
  readonly head: Tensor;
  /** One record a layer, by the input names of a block. */
  readonly layers: readonly Tensors[];
}

/** Weights outside the blocks. */
export const OUTER = ['embedding', 'finalNorm', 'head'] as const;
export type Outer = (typeof OUTER)[number];

export interface Wanted {
  /** Input name in a segment. */
  readonly name: string;
  readonly shape: Shape;
  /** Hugging Face names and shapes that make it up, row after row. */
  readonly from: readonly { readonly name: string; readonly shape: Shape }[];
}

/** Throws MODEL_INCOMPLETE, naming the tensor, before anything is read. */
export async function readWeights(spec: ModelSpec, source: WeightSource): Promise<BaseWeights> {
  const { embedding, finalNorm, head, layers } = wantedBy(spec);
  checkWeights(spec, source);
  const embeddingTensor = await read(embedding, source);
  return {
    embedding: embeddingTensor,
    finalNorm: await read(finalNorm, source),
    head: spec.names.head === spec.names.embedding ? embeddingTensor : await read(head, source),
    layers: await sequentially(layers, async (wanted) => {
      const record: Record<string, Tensor> = {};
      for (const w of wanted) record[w.name] = await read(w, source);
      return record;
    }),
  };
}

/** Whether a source has every tensor that the model needs, in its shape. Throws MODEL_INCOMPLETE, naming the tensor. */
export function checkWeights(spec: ModelSpec, source: WeightSource): void {
  const { embedding, finalNorm, head, layers } = wantedBy(spec);
  const names = new Set(source.names);
  for (const wanted of [embedding, finalNorm, head, ...layers.flat()]) check(wanted, names, source);
}

/** What a model needs, by the input names of its segments. */
export function wantedBy(spec: ModelSpec): Record<Outer, Wanted> & { readonly layers: Wanted[][] } {
  const single = (name: string, from: string, shape: Shape): Wanted => ({ name, shape, from: [{ name: from, shape }] });
  return {
    embedding: single('embedding', spec.names.embedding, [spec.vocab, spec.hidden]),
    finalNorm: single('finalNorm', spec.names.finalNorm, [spec.hidden]),
    head: single('head', spec.names.head, [spec.vocab, spec.hidden]),
    layers: Array.from({ length: spec.layers }, (_, i) => blockWeights(spec, spec.layer(i))),
  };
}

function blockWeights(spec: ModelSpec, prefix: string): Wanted[] {
  const vectors = spec.vectors.map((v) => ({
    name: v.name,
    shape: [v.size],
    from: [{ name: prefix + v.path, shape: [v.size] }],
  }));
  const linears = spec.projections.flatMap((p) => {
    const to = p.parts.reduce((sum, part) => sum + part.to, 0);
    const weight: Wanted = {
      name: tensorNames.weight(p),
      shape: [to, p.from],
      from: p.parts.map((part) => ({ name: `${prefix}${part.path}.weight`, shape: [part.to, p.from] })),
    };
    const bias: Wanted = {
      name: tensorNames.bias(p),
      shape: [to],
      from: p.parts.map((part) => ({ name: `${prefix}${part.path}.bias`, shape: [part.to] })),
    };
    return p.bias ? [weight, bias] : [weight];
  });
  return [...vectors, ...linears];
}

function check(wanted: Wanted, names: ReadonlySet<string>, source: WeightSource): void {
  for (const { name, shape } of wanted.from) {
    if (!names.has(name))
      throw new FettleError(
        'MODEL_INCOMPLETE',
        `The model lacks the tensor ${name}.`,
        'A file of the model may be missing; download it again.',
        { details: { tensor: name } },
      );
    const found = source.info(name).shape;
    if (!sameShape(found, shape))
      throw new FettleError(
        'MODEL_INCOMPLETE',
        `The tensor ${name} has the shape [${found.join(', ')}] where the config says [${shape.join(', ')}].`,
        'The weights and config.json do not belong together; download the model again.',
        { details: { tensor: name, found, expected: shape } },
      );
  }
}

const read = async (wanted: Wanted, source: WeightSource): Promise<Tensor> =>
  tensor(await readWanted(wanted, source), wanted.shape);

export async function readWanted(wanted: Wanted, source: WeightSource): Promise<Float32Array> {
  const [first] = wanted.from;
  if (wanted.from.length === 1) return readOne(first!.name, first!.shape, source);
  const data = new Float32Array(sizeOf(wanted.shape));
  let offset = 0;
  for (const { name, shape } of wanted.from) {
    data.set(await readOne(name, shape, source), offset);
    offset += sizeOf(shape);
  }
  return data;
}

async function readOne(name: string, shape: Shape, source: WeightSource): Promise<Float32Array> {
  const data = await source.read(name);
  if (data.length !== sizeOf(shape))
    throw new FettleError(
      'MODEL_INCOMPLETE',
      `The tensor ${name} has ${data.length} numbers in place of ${sizeOf(shape)}.`,
    );
  return data;
}

/** One after the other: reading all at once would need the memory of the file besides the model's. */
async function sequentially<A, B>(list: readonly A[], each: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  for (const item of list) results.push(await each(item));
  return results;
}

/** Views of all weights in memory by their Hugging Face names. */
export function weightsByName(spec: ModelSpec, weights: BaseWeights): Map<string, Float32Array> {
  const { layers, ...outer } = wantedBy(spec);
  const found = new Map<string, Float32Array>();
  const cut = (wanted: Wanted, from: Tensor): void => {
    let offset = 0;
    for (const { name, shape } of wanted.from) {
      found.set(name, numbers(from).subarray(offset, (offset += sizeOf(shape))));
    }
  };
  for (const name of OUTER) cut(outer[name], weights[name]);
  layers.forEach((list, layer) => list.forEach((wanted) => cut(wanted, weights.layers[layer]![wanted.name]!)));
  return found;
}
