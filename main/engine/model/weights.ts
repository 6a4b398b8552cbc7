/** @file Reads a base model's weights into tensors that all its uses share, with the parts of a projection side by side. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { WeightSource } from '../../formats/model.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { sameShape, sizeOf, type Shape } from '../graph/value.ts';
import { tensorNames } from '../layers/block.ts';
import { tensor, type Tensors } from '../segments/session.ts';

export interface BaseWeights {
  /** `embedding` [vocab, hidden], or what the precision makes of it. */
  readonly embedding: Tensors;
  /** [hidden] */
  readonly finalNorm: Tensor;
  /** The head's weight [vocab, hidden], which may be the embedding itself, or what the precision makes of it. */
  readonly head: Tensors;
  /** One record a layer, by the input names of a block. */
  readonly layers: readonly Tensors[];
}

export interface LinearWeight {
  /** As an input of a segment. */
  readonly name: string;
  /** [to, from] */
  readonly tensor: Tensor;
}

/** Gives weights in the precision of the base, as the tensors that their segments take. */
export interface Freeze {
  /** The linear layers of a projection, which share its input. */
  linear(layer: number, projection: string, weights: readonly LinearWeight[]): Tensors;
  head(weight: Tensor): Tensors;
  /** @param head what was made of the head where that is the same weight. */
  embedding(weight: Tensor, head: Tensors | undefined): Tensors;
}

interface Wanted {
  /** Input name in a segment. */
  readonly name: string;
  readonly shape: Shape;
  /** The projection whose weight it is. */
  readonly projection?: string;
  /** Hugging Face names and shapes that make it up, row after row. */
  readonly from: readonly { readonly name: string; readonly shape: Shape }[];
}

/**
 * Throws MODEL_INCOMPLETE, naming the tensor, before anything is read.
 */
export async function readWeights(spec: ModelSpec, source: WeightSource, freeze: Freeze): Promise<BaseWeights> {
  const { embedding, finalNorm, head, layers } = wantedBy(spec);
  checkWeights(spec, source);
  const tied = spec.names.head === spec.names.embedding;
  const embeddingTensor = await read(embedding, source);
  const headTensors = freeze.head(tied ? embeddingTensor : await read(head, source));
  return {
    embedding: freeze.embedding(embeddingTensor, tied ? headTensors : undefined),
    finalNorm: await read(finalNorm, source),
    head: headTensors,
    layers: await sequentially(layers, async (wanted, layer) => {
      const record: Record<string, Tensor> = {};
      const linears = new Map<string, LinearWeight[]>();
      for (const { projection, ...w } of wanted) {
        const found = await read(w, source);
        if (projection === undefined) record[w.name] = found;
        else linears.set(projection, [...(linears.get(projection) ?? []), { name: w.name, tensor: found }]);
      }
      for (const [projection, weights] of linears) Object.assign(record, freeze.linear(layer, projection, weights));
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

function wantedBy(
  spec: ModelSpec,
): Record<'embedding' | 'finalNorm' | 'head', Wanted> & { readonly layers: Wanted[][] } {
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
  const linears = spec.projections.flatMap((p) =>
    p.parts.flatMap((part) => {
      const shape = [part.to, p.from];
      const weight: Wanted = {
        name: tensorNames.weight(p, part.module),
        shape,
        projection: p.name,
        from: [{ name: `${prefix}${part.path}.weight`, shape }],
      };
      const bias: Wanted = {
        name: tensorNames.bias(p, part.module),
        shape: [part.to],
        from: [{ name: `${prefix}${part.path}.bias`, shape: [part.to] }],
      };
      return p.bias ? [weight, bias] : [weight];
    }),
  );
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

async function read(wanted: Wanted, source: WeightSource): Promise<Tensor> {
  const [first] = wanted.from;
  if (wanted.from.length === 1) return tensor(await readOne(first!.name, first!.shape, source), wanted.shape);
  const data = new Float32Array(sizeOf(wanted.shape));
  let offset = 0;
  for (const { name, shape } of wanted.from) {
    data.set(await readOne(name, shape, source), offset);
    offset += sizeOf(shape);
  }
  return tensor(data, wanted.shape);
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
async function sequentially<A, B>(list: readonly A[], each: (item: A, index: number) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  for (const [index, item] of list.entries()) results.push(await each(item, index));
  return results;
}
