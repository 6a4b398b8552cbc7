/** @file Runs a model's segments over a micro-batch: embedding, blocks, head; and back. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import { sizeOf } from '../graph/value.ts';
import { tensorNames, type TrainedShape } from '../layers/block.ts';
import { Random } from '../random.ts';
import { integers, numbers, tensor, type Session, type SessionCache, type Tensors } from '../segments/session.ts';
import { HostMemory, type Memory } from '../segments/memory.ts';
import {
  blockSegment,
  embedSegment,
  headSegment,
  maskSegment,
  trainingSegment,
  windowIn,
  type BlockShape,
} from './segments.ts';
import { documentBatch, microBatches, packedMasks, type MicroBatch } from './microbatch.ts';
import type { TrainedTensors } from './parameters.ts';
import { PIECES, type Pieces } from './pieces.ts';
import { RotaryTables, setsFor, turnedPositions } from './rotary-tables.ts';
import type { BaseWeights } from './weights.ts';

/** What is trained on a model: its values take the place of the base's weights of the same names. */
export interface Trained {
  readonly shape: TrainedShape;
  readonly layers: readonly TrainedTensors[];
  /** Embedding, final norm and head, where they are trained themselves. */
  readonly outer: TrainedTensors;
}

export interface TrainSettings {
  /** Factor of the summed loss. */
  readonly weight: number;
  /** Keeps only what enters each block, and runs the block again on the way back (Chen et al. 2016). */
  readonly recompute: boolean;
  /** What is dropped hangs on it alone. */
  readonly seed: number;
}

/** A head is compiled for multiples of this, and for one row. */
const HEAD_STEP = 32;

export class Network {
  readonly spec: ModelSpec;
  readonly cache: SessionCache;
  readonly tables: RotaryTables;
  readonly pieces: Pieces;
  readonly #memory: Memory;
  /** Held once for all networks that stand beside each other. */
  readonly #held: { weights: BaseWeights };

  constructor(
    spec: ModelSpec,
    held: { weights: BaseWeights },
    cache: SessionCache,
    memory: Memory = new HostMemory(),
    pieces: Pieces = PIECES[cache.options.device],
  ) {
    this.spec = spec;
    this.#held = held;
    this.cache = cache;
    this.pieces = pieces;
    this.#memory = memory;
    this.tables = new RotaryTables(spec, memory);
  }

  /** The same model with so many threads, in the same working memory: the two run by turns. */
  beside(threads: number): Network {
    return new Network(this.spec, this.#held, this.cache.beside(threads), this.#memory);
  }

  get weights(): BaseWeights {
    return this.#held.weights;
  }

  /** Other tensors where what is trained takes the base's place. */
  set weights(weights: BaseWeights) {
    this.#held.weights = weights;
  }

  /** Hidden states before the final norm, [rows * length, hidden]; valid until the next call. */
  async forward(micro: MicroBatch, trained: Trained | undefined): Promise<Tensor> {
    const { spec } = this;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await blockSegment(this.cache, spec, blockShape(kind, micro, trained)),
      shared: await this.shared(kind, micro),
    }));
    let x = await this.embed(micro.ids, micro.positions, trained);
    for (let layer = 0; layer < spec.layers; layer++) {
      const { segment, shared } = layers[layer]!;
      const from = [shared, ...this.layerWeights(layer, trained), { x }];
      // Where training keeps what it saved: of that nothing is needed any more.
      x = (await this.#memory.run(segment.forward, from, `saved ${layer % 2}`))['y']!;
    }
    return x;
  }

  /**
   * Forward and backward. Adds the gradient of `weight` times the summed loss to the gradients of what is trained.
   * @returns losses that add up to those of all labels: each label's on the host, sums from elsewhere.
   */
  async train(micro: MicroBatch, trained: Trained, settings: TrainSettings): Promise<Float32Array> {
    const { spec } = this;
    const memory = this.#memory;
    const { recompute } = settings;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await trainingSegment(this.cache, spec, blockShape(kind, micro, trained)),
      shared: await this.shared(kind, micro),
    }));
    const fed = (layer: number): Tensors[] => [
      layers[layer]!.shared,
      ...this.layerWeights(layer, trained),
      this.#dropped(layers[layer]!.segment.forward, trained.shape, settings.seed + layer),
      { x: inputs[layer]! },
    ];
    const inputs: Tensor[] = [await this.embed(micro.ids, micro.positions, trained)];
    const forward = (layer: number): Promise<Tensors> =>
      memory.run(layers[layer]!.segment.forward, fed(layer), (output) =>
        output === 'y' ? `y ${layer}` : `saved ${recompute ? 0 : layer}`,
      );
    const saved: Tensors[] = [];
    for (let layer = 0; layer < spec.layers; layer++) {
      const out = await forward(layer);
      saved.push(out);
      inputs.push(out['y']!);
    }
    const { losses, dx } = await this.#headBackward(micro, inputs[spec.layers]!, settings.weight, trained);
    let dy = dx;
    for (let layer = spec.layers - 1; layer >= 0; layer--) {
      const { backward } = layers[layer]!.segment;
      const own = trained.layers[layer]!;
      const held = recompute ? await forward(layer) : saved[layer]!;
      const from = [...fed(layer), own.gradients, held, { dy }];
      const made = await memory.run(backward, from, `d.x ${layer % 2}`, own.gradients);
      own.took(made);
      dy = made['d.x']!;
    }
    const { 'd.embedding': dTable, 'd.embedding.positions': dPlaces } = trained.outer.gradients;
    if (dTable) addRows(numbers(dTable), micro.ids, numbers(dy), spec.embeddingScale);
    if (dPlaces) addRows(numbers(dPlaces), micro.positions, numbers(dy), 1);
    return this.cache.options.device === 'cpu' ? this.#read(losses, micro) : this.#readSums(losses, settings.weight);
  }

  /** What a layer's segment is fed: the base's weights, and over them what is trained. */
  layerWeights(layer: number, trained: Trained | undefined): Tensors[] {
    return [this.weights.layers[layer]!, trained?.layers[layer]!.values ?? {}];
  }

  /** Losses of the labelled rows of hidden states, in nats. */
  async losses(micro: MicroBatch, hidden: Tensor, trained: Trained | undefined): Promise<Float32Array> {
    const losses: Tensor[] = [];
    for await (const { segment, feeds, start } of this.#headChunks(micro, hidden, 'loss', trained))
      losses.push((await this.#memory.run(segment.session, [feeds], `loss ${start}`))['loss']!);
    return this.#read(losses, micro);
  }

  /** Logits [count, vocab] of rows of hidden states, by their places. */
  async logits(hidden: Tensor, places: Int32Array, trained: Trained | undefined): Promise<Float32Array> {
    const { vocab } = this.spec;
    const out = new Float32Array(places.length * vocab);
    const micro = { places, labels: new Int32Array(places.length) };
    for await (const { segment, feeds, start, count } of this.#headChunks(micro, hidden, 'logits', trained)) {
      const { logits } = await this.#memory.run(segment.session, [feeds], 'logits');
      out.set((await this.#memory.read(logits!)).subarray(0, count * vocab), start * vocab);
    }
    return out;
  }

  /** Logits [tokens, vocab] of one document. */
  async documentLogits(ids: Int32Array, trained: Trained | undefined): Promise<Float32Array> {
    const [micro] = microBatches(documentBatch(ids));
    if (!micro) return new Float32Array(0);
    return this.logits(await this.forward(micro, trained), micro.places, trained);
  }

  /** The largest magnitudes [hidden] of what the head multiplies, over some rows of hidden states. */
  async headPeaks(hidden: Tensor, places: Int32Array): Promise<Float32Array> {
    const all = new Float32Array(this.spec.hidden);
    const micro = { places, labels: new Int32Array(places.length) };
    for await (const { segment, feeds } of this.#headChunks(micro, hidden, 'peaks', undefined)) {
      const { peaks } = await this.#memory.run(segment.session, [feeds], 'peaks');
      numbers(peaks!).forEach((peak, i) => (all[i] = Math.max(all[i]!, peak)));
    }
    return all;
  }

  release(): Promise<void> {
    this.tables.clear();
    return this.#memory.release();
  }

  /** @returns the losses of each piece of the labelled rows, and the gradient of all hidden states. */
  async #headBackward(
    micro: MicroBatch,
    hidden: Tensor,
    weight: number,
    trained: Trained,
  ): Promise<{ losses: Tensor[]; dx: Tensor }> {
    const memory = this.#memory;
    const losses: Tensor[] = [];
    const { outer } = trained;
    let dx: Tensor | undefined;
    for await (const { segment, feeds, start, count } of this.#headChunks(micro, hidden, 'train', trained)) {
      const weights = new Float32Array(segment.rows).fill(weight, 0, count);
      const from = [feeds, outer.gradients, { dy: tensor(weights, [segment.rows, 1]) }];
      const slot = (output: string): string => (output === 'loss' ? `loss ${start}` : 'head');
      const made = await memory.run(segment.session, from, slot, outer.gradients);
      outer.took(made);
      losses.push(made['loss']!);
      const places = micro.places.subarray(start, start + count);
      dx = await memory.scatter(made['d.x']!, places, hidden.dims[0]!, dx, 'dx');
    }
    return { losses, dx: dx! };
  }

  /** Feeds labelled rows to the head, some at a time; what stands in the rest of the last ones has no weight. */
  async *#headChunks(
    micro: Pick<MicroBatch, 'places' | 'labels'>,
    hidden: Tensor,
    kind: 'loss' | 'train' | 'logits' | 'peaks',
    trained: Trained | undefined,
  ): AsyncGenerator<HeadChunk> {
    const ofHead = ['head', ...Object.keys(this.weights.final)];
    const own = kind === 'train' ? ofHead.filter((name) => trained?.outer.values[name]) : [];
    const { headRows } = this.pieces;
    for (let start = 0; start < micro.places.length; start += headRows) {
      const count = Math.min(headRows, micro.places.length - start);
      const rows = count === 1 ? 1 : Math.ceil(count / HEAD_STEP) * HEAD_STEP;
      const segment = await headSegment(this.cache, this.spec, kind, rows, own);
      const x = await this.#memory.gather(hidden, micro.places.subarray(start, start + count), rows, 'labelled');
      const labels = new Int32Array(rows);
      labels.set(micro.labels.subarray(start, start + count));
      const { final, head } = this.weights;
      const feeds = { ...final, ...head, ...trained?.outer.values, x, labels: integers(labels, [rows, 1]) };
      yield { segment, feeds, start, count };
    }
  }

  /** The losses of a micro-batch, of which each tensor has those of so many labels as go through the head at once. */
  async #read(parts: readonly Tensor[], micro: MicroBatch): Promise<Float32Array> {
    const losses = new Float32Array(micro.places.length);
    for (const [i, part] of parts.entries()) {
      const start = i * this.pieces.headRows;
      losses.set((await this.#memory.read(part)).subarray(0, losses.length - start), start);
    }
    return losses;
  }

  /** Sums that were weighted, as they are without. */
  async #readSums(weighted: readonly Tensor[], weight: number): Promise<Float32Array> {
    const sums = new Float32Array(weighted.length);
    for (const [i, sum] of weighted.entries()) sums[i] = (await this.#memory.read(sum))[0]! / weight;
    return sums;
  }

  /** Embeddings [n, hidden] of ids [n] at their positions [n]; valid until the next call. Throws INPUT_INVALID. */
  async embed(ids: Int32Array, positions: Int32Array, trained: Trained | undefined): Promise<Tensor> {
    const { vocab } = this.spec;
    const n = ids.length;
    const wrong = ids.find((id) => id < 0 || id >= vocab);
    if (wrong !== undefined)
      throw new FettleError(
        'INPUT_INVALID',
        `Token ${wrong} is not in the model's vocabulary of ${vocab}.`,
        'The tokenizer belongs to another model.',
      );
    const segment = await embedSegment(this.cache, this.spec, n);
    const from = [
      this.weights.embedding,
      trained?.outer.values ?? {},
      { ids: integers(ids, [n]), positions: integers(positions, [n]) },
    ];
    return (await this.#memory.run(segment.forward, from, 'embedded'))['x']!;
  }

  /** What all blocks of a kind take of a micro-batch: positions, rotary tables, masks. */
  async shared(kind: LayerKind, micro: MicroBatch): Promise<Tensors> {
    const { rows, length } = micro;
    const positions = integers(turnedPositions(kind, micro), [rows, length]);
    return {
      ...(await this.tables.of(kind, length, setsFor(kind, length))),
      ...(micro.packed ? await this.#masks(kind, micro) : {}),
      ...(await this.#memory.put(`shared ${this.#kindOf(kind)}`, { positions })),
    };
  }

  /** Made where they are used: they are much larger than what they say. */
  async #masks(kind: LayerKind, micro: MicroBatch): Promise<Tensors> {
    const { rows, length, documents } = micro;
    if (this.cache.options.device === 'cpu') {
      const masks = packedMasks(micro, windowIn(kind, length));
      return Object.fromEntries(masks.map(({ name, data, shape }) => [name, tensor(data, shape)]));
    }
    const { forward } = await maskSegment(this.cache, { kind, batch: rows, time: length });
    const from = { documents: tensor(Float32Array.from(documents), [rows, length]) };
    return this.#memory.run(forward, [from], `masks ${this.#kindOf(kind)}`);
  }

  #kindOf(kind: LayerKind): number {
    return this.spec.kinds.indexOf(kind);
  }

  /** What the adapters' inputs are multiplied by, where some of them is dropped. */
  #dropped({ program }: Session, shape: TrainedShape, seed: number): Tensors {
    if (shape.kind !== 'adapter' || shape.dropout === 0) return {};
    const random = new Random(seed);
    const masks: Record<string, Tensor> = {};
    for (const p of this.spec.projections) {
      const wanted = program.inputs.get(tensorNames.dropout(p));
      if (wanted)
        masks[tensorNames.dropout(p)] = tensor(dropoutMask(random, sizeOf(wanted.shape), shape.dropout), wanted.shape);
    }
    return masks;
  }
}

interface HeadChunk {
  readonly segment: Awaited<ReturnType<typeof headSegment>>;
  readonly feeds: Tensors;
  /** Which of the micro-batch's labels they are. */
  readonly start: number;
  readonly count: number;
}

/** 0 with the probability `share`, to one part in 65,536, else what keeps the mean: two halves of each draw decide two numbers. */
function dropoutMask(random: Random, size: number, share: number): Float32Array {
  const limit = Math.round(share * 65536);
  const kept = 65536 / (65536 - limit);
  const mask = new Float32Array(size);
  for (let i = 0; i < size; i += 2) {
    const bits = random.bits();
    mask[i] = (bits & 65535) < limit ? 0 : kept;
    if (i + 1 < size) mask[i + 1] = bits >>> 16 < limit ? 0 : kept;
  }
  return mask;
}

/** Adds `factor` times rows [n, width] to the rows `ids` of a table. */
function addRows(table: Float32Array, ids: Int32Array, rows: Float32Array, factor: number): void {
  const width = rows.length / ids.length;
  ids.forEach((id, row) => {
    for (let i = 0; i < width; i++) table[id * width + i]! += factor * rows[row * width + i]!;
  });
}

export const blockShape = (kind: LayerKind, micro: MicroBatch, trained: Trained | undefined): BlockShape => ({
  kind,
  batch: micro.rows,
  time: micro.length,
  packed: micro.packed,
  trained: trained?.shape,
});

/** What `make` gives for each layer, made once for each kind of them. */
export async function byLayer<T>(spec: ModelSpec, make: (kind: LayerKind) => Promise<T>): Promise<T[]> {
  const made = new Map<LayerKind, T>();
  for (const kind of new Set(spec.kinds)) made.set(kind, await make(kind));
  return spec.kinds.map((kind) => made.get(kind)!);
}
