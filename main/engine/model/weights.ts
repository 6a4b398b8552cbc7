/** @file Reads a base model's weights into tensors that all its uses share. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import { discard } from '../../formats/discard.ts';
import type { WeightSource } from '../../formats/model.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import { sameShape, sizeOf, type Shape } from '../graph/value.ts';
import { tensorNames } from '../layers/block.ts';
import { inMapped } from '../segments/mapped.ts';
import { numbers, tensor, type Tensors } from '../segments/session.ts';

export interface BaseWeights {
  /** `embedding` [vocab, hidden], or what the precision makes of it; `embedding.positions` where they are learned. */
  readonly embedding: Tensors;
  /** The final norm's vectors, [hidden]. */
  readonly final: Tensors;
  /** `head` [vocab, hidden], the embedding itself where the head is tied; or what the precision makes of it. */
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

/** The linear layers of a block, by the projection whose input they share. */
export type Linears = ReadonlyMap<string, readonly LinearWeight[]>;

/** Gives weights in the precision of the base, as the tensors that their segments take; asked in this order. */
export interface Freeze {
  /**
   * @param embedding the table as `embedding`, and what else is looked up.
   * @param tied the table is the head too. @returns nothing where it is then kept as the head is.
   */
  begin(embedding: Tensors, tied: boolean): Promise<Tensors | undefined>;
  /** @param own what is kept as it is: norms, biases. */
  block(layer: number, own: Tensors, linears: Linears): Promise<Tensors>;
  /** @param final the final norm's vectors. */
  head(weight: Tensor, final: Tensors): Promise<Tensors>;
  /** Gives up what was held for it. */
  release(): Promise<void>;
}

export interface Wanted {
  /** Input name in a segment. */
  readonly name: string;
  readonly shape: Shape;
  /** The tensor in the files, by its Hugging Face name. */
  readonly from: { readonly name: string; readonly shape: Shape };
  /** There it is kept the other way round, [in, out]. */
  readonly transposed?: boolean;
  /** The projection whose weight it is. */
  readonly projection?: string;
}

/**
 * @param share whether threads are to see them. Memory that threads share cannot be given back at once, so what is soon
 * given up is not shared.
 * Throws MODEL_INCOMPLETE, naming the tensor, before anything is read.
 */
export async function readWeights(
  spec: ModelSpec,
  source: WeightSource,
  freeze: Freeze,
  share = true,
): Promise<BaseWeights> {
  const { embedding, final, head, layers } = wantedBy(spec);
  checkWeights(spec, source);
  const record = async (wanted: readonly Wanted[]): Promise<Record<string, Tensor>> => {
    const tensors: Record<string, Tensor> = {};
    for (const w of wanted) tensors[w.name] = await read(w, source);
    return tensors;
  };
  const tied = isTied(spec);
  const first = await record(embedding);
  const { embedding: table, ...positions } = first as { embedding: Tensor };
  const outer = placer(share);
  const begun = await freeze.begin(first, tied);
  const looked = begun && outer(begun);
  if (looked) giveBack([table], looked);
  const norm = outer(await record(final));
  const blocks = await sequentially(layers, async (wanted, layer) => {
    const own: Record<string, Tensor> = {};
    const linears = new Map<string, LinearWeight[]>();
    for (const w of wanted) {
      const found = await read(w, source);
      if (w.projection === undefined) own[w.name] = found;
      else linears.set(w.projection, [...(linears.get(w.projection) ?? []), { name: w.name, tensor: found }]);
    }
    const placed = placer(share)(await freeze.block(layer, own, linears));
    giveBack(
      [...linears.values()].flat().map(({ tensor }) => tensor),
      placed,
    );
    return placed;
  });
  const last = tied ? (looked?.['embedding'] ?? table) : await read(head, source);
  const heads = outer(await freeze.head(last, norm));
  giveBack([last], { ...looked, ...heads });
  return { embedding: looked ?? { ...heads, ...outer(positions) }, final: norm, head: heads, layers: blocks };
}

/** Puts tensors into memory of their own, one that comes twice once, and gives back where they were. */
function placer(share: boolean): (tensors: Tensors) => Tensors {
  const known = new Map<Tensor, Tensor>();
  return (tensors) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, each]) => {
        let placed = known.get(each);
        if (!placed) {
          placed = inMapped(each, share);
          known.set(each, placed).set(placed, placed);
          if (placed !== each) discard(each.data as ArrayBufferView);
        }
        return [name, placed];
      }),
    );
}

/** Memory of weights as they were read: a whole model of them would pile up, one layer after the other. */
function giveBack(read: readonly Tensor[], held: Tensors): void {
  const kept = new Set(Object.values(held));
  for (const weight of read) if (!kept.has(weight)) discard(numbers(weight));
}

/** All memory of a base that nothing uses any more. */
export function discardWeights({ embedding, final, head, layers }: BaseWeights): void {
  for (const record of new Set([...[embedding, final, head, ...layers].flatMap((each) => Object.values(each))]))
    discard(record.data as ArrayBufferView);
}

/** Whether a source has every tensor that the model needs, in its shape. Throws MODEL_INCOMPLETE, naming the tensor. */
export function checkWeights(spec: ModelSpec, source: WeightSource): void {
  const { embedding, final, head, layers } = wantedBy(spec);
  const names = new Set(source.names);
  for (const wanted of [...embedding, ...final, head, ...layers.flat()]) check(wanted, names, source);
}

export interface WantedWeights {
  readonly embedding: readonly Wanted[];
  readonly final: readonly Wanted[];
  readonly head: Wanted;
  readonly layers: readonly Wanted[][];
}

/** What a model needs, by the input names of its segments. */
export function wantedBy(spec: ModelSpec): WantedWeights {
  const single = (name: string, from: string, shape: Shape): Wanted => ({ name, shape, from: { name: from, shape } });
  const { embedding, positions, head } = spec.names;
  return {
    embedding: [
      single('embedding', embedding, [spec.vocab, spec.hidden]),
      ...(positions ? [single('embedding.positions', positions, [spec.maxPositions, spec.hidden])] : []),
    ],
    final: spec.finalVectors.map((v) => single(v.name, v.path, [v.size])),
    head: single('head', head, [spec.vocab, spec.hidden]),
    layers: Array.from({ length: spec.layers }, (_, i) => blockWeights(spec, spec.layer(i))),
  };
}

function blockWeights(spec: ModelSpec, prefix: string): Wanted[] {
  const vectors = spec.vectors.map((v) => ({
    name: v.name,
    shape: [v.size],
    from: { name: prefix + v.path, shape: [v.size] },
  }));
  const linears = spec.projections.flatMap((p) =>
    p.parts.flatMap((part) => {
      const weight: Wanted = {
        name: tensorNames.weight(p, part.module),
        shape: [part.to, p.from],
        projection: p.name,
        from: {
          name: `${prefix}${part.path}.weight`,
          shape: spec.transposed ? [p.from, part.to] : [part.to, p.from],
        },
        transposed: spec.transposed,
      };
      const bias: Wanted = {
        name: tensorNames.bias(p, part.module),
        shape: [part.to],
        from: { name: `${prefix}${part.path}.bias`, shape: [part.to] },
      };
      return p.bias ? [weight, bias] : [weight];
    }),
  );
  return [...vectors, ...linears];
}

function check({ from: { name, shape } }: Wanted, names: ReadonlySet<string>, source: WeightSource): void {
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

const read = async (wanted: Wanted, source: WeightSource): Promise<Tensor> =>
  tensor(await readWanted(wanted, source), wanted.shape);

/** The numbers of a segment's input. Throws MODEL_INCOMPLETE. */
export async function readWanted(
  { from: { name, shape }, transposed = false }: Wanted,
  source: WeightSource,
): Promise<Float32Array> {
  const stored = await source.read(name);
  if (stored.length !== sizeOf(shape))
    throw new FettleError(
      'MODEL_INCOMPLETE',
      `The tensor ${name} has ${stored.length} numbers in place of ${sizeOf(shape)}.`,
    );
  if (!transposed) return stored;
  const data = turned(stored, shape[0]!);
  discard(stored);
  return data;
}

/** One after the other: reading all at once would need the memory of the file besides the model's. */
async function sequentially<A, B>(list: readonly A[], each: (item: A, index: number) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  for (const [index, item] of list.entries()) results.push(await each(item, index));
  return results;
}

/** All weights in memory by their Hugging Face names; linear layers as [out, in], however the files keep them. */
export function weightsByName(spec: ModelSpec, weights: BaseWeights): Map<string, Float32Array> {
  const { embedding, final, head, layers } = wantedBy(spec);
  const found = new Map<string, Float32Array>();
  const see = (list: readonly Wanted[], tensors: Tensors): void => {
    for (const { name, from } of list) found.set(from.name, numbers(tensors[name]!));
  };
  see(embedding, weights.embedding);
  see(final, weights.final);
  see([head], weights.head);
  layers.forEach((list, layer) => see(list, weights.layers[layer]!));
  return found;
}

/** Names of the weights that the files keep as [in, out] (GPT-2's Conv1D). */
export const transposedWeights = (spec: ModelSpec): ReadonlySet<string> =>
  new Set(
    wantedBy(spec).layers.flatMap((list) => list.filter(({ transposed }) => transposed).map(({ from }) => from.name)),
  );

/** [rows, columns] as [columns, rows]. */
export function turned(data: Float32Array, rows: number): Float32Array {
  const columns = data.length / rows;
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column]!;
  return out;
}
