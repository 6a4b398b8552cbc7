/** @file Runs a model's segments over a micro-batch: embedding, blocks, head; and back. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import { sizeOf } from '../graph/value.ts';
import { tensorNames, type TrainedShape } from '../layers/block.ts';
import { Random } from '../random.ts';
import {
  integers,
  numbers,
  tensor,
  zeros,
  type Session,
  type SessionCache,
  type Tensors,
} from '../segments/session.ts';
import { Workspace } from '../segments/workspace.ts';
import {
  blockSegment,
  embedSegment,
  headSegment,
  longTexts,
  trainingSegment,
  windowIn,
  type BlockShape,
} from './segments.ts';
import { documentLengths, packedMasks, type MicroBatch } from './microbatch.ts';
import type { TrainedTensors } from './parameters.ts';
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

/** Labelled rows that go through the head at once: their logits should fit the cache. */
export const HEAD_ROWS = 128;
/** A head is compiled for multiples of this, and for one row. */
const HEAD_STEP = 32;

export class Network {
  readonly spec: ModelSpec;
  readonly cache: SessionCache;
  /** Held once for all networks that stand beside each other. */
  readonly #held: { weights: BaseWeights };
  readonly #workspace = new Workspace();

  constructor(spec: ModelSpec, held: { weights: BaseWeights }, cache: SessionCache) {
    this.spec = spec;
    this.#held = held;
    this.cache = cache;
  }

  /** The same model, to run at the same time with threads and working memory of its own. */
  beside(threads: number): Network {
    return new Network(this.spec, this.#held, this.cache.beside(threads));
  }

  get weights(): BaseWeights {
    return this.#held.weights;
  }

  /** Other tensors where what is trained takes the base's place. */
  set weights(weights: BaseWeights) {
    this.#held.weights = weights;
  }

  /** Hidden states before the final norm, [rows * length, hidden]; valid until the next call. */
  async forward(micro: MicroBatch, trained: Trained | undefined): Promise<Float32Array> {
    const { spec } = this;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await blockSegment(this.cache, spec, blockShape(kind, micro, trained)),
      shared: this.shared(kind, micro),
    }));
    let x = await this.embed(micro.ids, micro.positions, trained);
    for (let layer = 0; layer < spec.layers; layer++) {
      const { segment, shared } = layers[layer]!;
      const out = this.#workspace.tensors(layer % 2, segment.forward.program.outputs);
      await segment.forward.run([shared, ...this.layerWeights(layer, trained), { x }], out);
      x = out['y']!;
    }
    return numbers(x);
  }

  /**
   * Forward and backward. Adds the gradient of `weight` times the summed loss to the gradients of what is trained.
   * @returns the loss of each label, in the micro-batch's order.
   */
  async train(micro: MicroBatch, trained: Trained, settings: TrainSettings): Promise<Float32Array> {
    const { spec } = this;
    const { recompute } = settings;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await trainingSegment(this.cache, spec, blockShape(kind, micro, trained)),
      shared: this.shared(kind, micro),
    }));
    const fed = (layer: number): Tensors[] => [
      layers[layer]!.shared,
      ...this.layerWeights(layer, trained),
      this.#dropped(layers[layer]!.segment.forward, trained.shape, settings.seed + layer),
      { x: inputs[layer]! },
    ];
    const inputs: Tensor[] = [await this.embed(micro.ids, micro.positions, trained)];
    const forward = async (layer: number): Promise<Tensors> => {
      const { segment } = layers[layer]!;
      const { y, ...kept } = Object.fromEntries(segment.forward.program.outputs);
      const out = {
        ...this.#workspace.tensors(recompute ? 0 : layer, new Map(Object.entries(kept))),
        ...this.#workspace.tensors(spec.layers + 6 + layer, new Map([['y', y!]])),
      };
      await segment.forward.run(fed(layer), out);
      return out;
    };
    const saved: Tensors[] = [];
    for (let layer = 0; layer < spec.layers; layer++) {
      const out = await forward(layer);
      saved.push(out);
      inputs.push(out['y']!);
    }
    const { losses, dx } = await this.#headBackward(micro, numbers(inputs[spec.layers]!), settings.weight, trained);
    let dy = dx;
    for (let layer = spec.layers - 1; layer >= 0; layer--) {
      const { segment } = layers[layer]!;
      const { gradients } = trained.layers[layer]!;
      const next = this.#tensor(spec.layers + 1 + (layer % 2), 'd.x', dy.dims);
      const held = recompute ? await forward(layer) : saved[layer]!;
      await segment.backward.run([...fed(layer), gradients, held, { dy }], { ...gradients, 'd.x': next });
      dy = next;
    }
    const { 'd.embedding': dTable, 'd.embedding.positions': dPlaces } = trained.outer.gradients;
    if (dTable) addRows(numbers(dTable), micro.ids, numbers(dy), spec.embeddingScale);
    if (dPlaces) addRows(numbers(dPlaces), micro.positions, numbers(dy), 1);
    return losses;
  }

  /** What a layer's segment is fed: the base's weights, and over them what is trained. */
  layerWeights(layer: number, trained: Trained | undefined): Tensors[] {
    return [this.weights.layers[layer]!, trained?.layers[layer]!.values ?? {}];
  }

  /** Losses of the labelled rows of hidden states, in nats. */
  async losses(micro: MicroBatch, hidden: Float32Array, trained: Trained | undefined): Promise<Float32Array> {
    const losses = new Float32Array(micro.places.length);
    await this.#headChunks(micro, hidden, 'loss', trained, async (segment, feeds, start, count) => {
      const loss = this.#tensor(this.spec.layers + 4, 'loss', [segment.rows, 1]);
      await segment.session.run([feeds], { loss });
      losses.set(numbers(loss).subarray(0, count), start);
    });
    return losses;
  }

  /** Logits [count, vocab] of rows of hidden states, by their places. */
  async logits(hidden: Float32Array, places: Int32Array, trained: Trained | undefined): Promise<Float32Array> {
    const { vocab } = this.spec;
    const out = new Float32Array(places.length * vocab);
    const micro = { places, labels: new Int32Array(places.length) };
    await this.#headChunks(micro, hidden, 'logits', trained, async (segment, feeds, start, count) => {
      const logits = this.#tensor(this.spec.layers + 4, 'logits', [segment.rows, vocab]);
      await segment.session.run([feeds], { logits });
      out.set(numbers(logits).subarray(0, count * vocab), start * vocab);
    });
    return out;
  }

  /** The largest magnitudes [hidden] of what the head multiplies, over some rows of hidden states. */
  async headPeaks(hidden: Float32Array, places: Int32Array): Promise<Float32Array> {
    const all = new Float32Array(this.spec.hidden);
    const micro = { places, labels: new Int32Array(places.length) };
    await this.#headChunks(micro, hidden, 'peaks', undefined, async (segment, feeds) => {
      const peaks = this.#tensor(this.spec.layers + 4, 'peaks', [this.spec.hidden]);
      await segment.session.run([feeds], { peaks });
      numbers(peaks).forEach((peak, i) => (all[i] = Math.max(all[i]!, peak)));
    });
    return all;
  }

  /** Bytes of activations held. */
  get activationBytes(): number {
    return this.#workspace.bytes;
  }

  release(): void {
    this.#workspace.release();
  }

  async #headBackward(
    micro: MicroBatch,
    hidden: Float32Array,
    weight: number,
    trained: Trained,
  ): Promise<{ losses: Float32Array; dx: Tensor }> {
    const { hidden: size, layers } = this.spec;
    const dx = this.#tensor(layers + 3, 'dx', [micro.rows * micro.length, size]);
    const all = numbers(dx).fill(0);
    const losses = new Float32Array(micro.places.length);
    await this.#headChunks(micro, hidden, 'train', trained, async (segment, feeds, start, count) => {
      const weights = new Float32Array(segment.rows).fill(weight, 0, count);
      const { loss, 'd.x': dRows } = Object.fromEntries(segment.session.program.outputs);
      const own = this.#workspace.tensors(
        layers + 4,
        new Map([
          ['loss', loss!],
          ['d.x', dRows!],
        ]),
      );
      const { gradients } = trained.outer;
      const out = { ...gradients, ...own };
      await segment.session.run([feeds, gradients, { dy: tensor(weights, [segment.rows, 1]) }], out);
      losses.set(numbers(own['loss']!).subarray(0, count), start);
      const rows = numbers(own['d.x']!);
      for (let i = 0; i < count; i++) all.set(rows.subarray(i * size, (i + 1) * size), micro.places[start + i]! * size);
    });
    return { losses, dx };
  }

  /** Feeds labelled rows to the head, some at a time; the last ones padded with zeros, which give finite numbers. */
  async #headChunks(
    micro: Pick<MicroBatch, 'places' | 'labels'>,
    hidden: Float32Array,
    kind: 'loss' | 'train' | 'logits' | 'peaks',
    trained: Trained | undefined,
    each: (
      segment: Awaited<ReturnType<typeof headSegment>>,
      feeds: Tensors,
      start: number,
      count: number,
    ) => Promise<void>,
  ): Promise<void> {
    const size = this.spec.hidden;
    const ofHead = ['head', ...Object.keys(this.weights.final)];
    const own = kind === 'train' ? ofHead.filter((name) => trained?.outer.values[name]) : [];
    for (let start = 0; start < micro.places.length; start += HEAD_ROWS) {
      const count = Math.min(HEAD_ROWS, micro.places.length - start);
      const rows = count === 1 ? 1 : Math.ceil(count / HEAD_STEP) * HEAD_STEP;
      const segment = await headSegment(this.cache, this.spec, kind, rows, own);
      const x = this.#tensor(this.spec.layers + 5, 'x', [rows, size]);
      const data = numbers(x);
      for (let i = 0; i < count; i++) {
        const place = micro.places[start + i]!;
        data.set(hidden.subarray(place * size, (place + 1) * size), i * size);
      }
      data.fill(0, count * size);
      const labels = new Int32Array(rows);
      labels.set(micro.labels.subarray(start, start + count));
      const { final, head } = this.weights;
      const feeds = { ...final, ...head, ...trained?.outer.values, x, labels: integers(labels, [rows, 1]) };
      await each(segment, feeds, start, count);
    }
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
    const out = this.#workspace.tensors(this.spec.layers, segment.forward.program.outputs);
    const feeds = { ids: integers(ids, [n]), positions: integers(positions, [n]) };
    await segment.forward.run([this.weights.embedding, trained?.outer.values ?? {}, feeds], out);
    return out['x']!;
  }

  /** What all blocks of a kind take of a micro-batch: positions, rotary tables, masks. */
  shared(kind: LayerKind, micro: MicroBatch): Tensors {
    const { rows, length } = micro;
    const shared: Record<string, Tensor> = {
      positions: integers(turnedPositions(kind, micro), [rows, length]),
      ...rotaryTables(kind, length, longTexts(kind, length) ? ['short', 'long'] : ['short']),
    };
    if (micro.packed)
      for (const { name, data, shape } of packedMasks(micro, windowIn(kind, length)))
        shared[name] = tensor(data, shape);
    return shared;
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

  #tensor(slot: number, name: string, shape: readonly number[]): Tensor {
    return this.#workspace.tensors(slot, new Map([[name, { shape, dtype: 'float32' }]]))[name]!;
  }
}

/** 0 with the probability `share`, to one part in 256, else what keeps the mean: four bytes of each draw decide four numbers. */
function dropoutMask(random: Random, size: number, share: number): Float32Array {
  const limit = Math.min(255, Math.round(share * 256));
  const kept = 256 / (256 - limit);
  const mask = new Float32Array(size);
  for (let i = 0; i < size; i += 4) {
    let bits = random.bits();
    for (let j = i; j < Math.min(i + 4, size); j++, bits >>>= 8) mask[j] = (bits & 255) < limit ? 0 : kept;
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

/** Rows of the rotary tables: a token's position, in LongRoPE's second set where its document is long. */
function turnedPositions(kind: LayerKind, micro: MicroBatch): Int32Array {
  const { positions, length } = micro;
  if (!longTexts(kind, length)) return positions;
  const lengths = documentLengths(micro);
  return positions.map((p, i) => (lengths[i]! > kind.rotary!.long!.after ? length + p : p));
}

/** cos and sin of each position's angles, [positions, pairs] for each set of frequencies, one after the other; none where positions are learned. */
export function rotaryTables({ rotary }: LayerKind, positions: number, sets: readonly ('short' | 'long')[]): Tensors {
  if (!rotary) return {};
  const pairs = rotary.frequencies.length;
  const shape = [sets.length * positions, pairs];
  const [cos, sin] = [zeros(shape), zeros(shape)];
  const [c, s] = [numbers(cos), numbers(sin)];
  let at = 0;
  for (const set of sets) {
    const frequencies = set === 'long' ? rotary.long!.frequencies : rotary.frequencies;
    for (let p = 0; p < positions; p++)
      for (let i = 0; i < pairs; i++, at++) {
        c[at] = rotary.factor * Math.cos(p * frequencies[i]!);
        s[at] = rotary.factor * Math.sin(p * frequencies[i]!);
      }
  }
  return { cos, sin };
}
