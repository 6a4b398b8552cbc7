/** @file Runs a model's segments over a micro-batch: embedding, blocks, head; and back. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import type { AdapterShape } from '../layers/block.ts';
import { integers, numbers, tensor, zeros, type SessionCache, type Tensors } from '../segments/session.ts';
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
import type { BaseWeights } from './weights.ts';

/** An adapter as the blocks take it: a record of tensors a layer. */
export interface AdapterLayers {
  readonly shape: AdapterShape;
  readonly layers: readonly { readonly values: Tensors; readonly gradients: Tensors }[];
}

/** Labelled rows that go through the head at once: their logits should fit the cache. */
export const HEAD_ROWS = 128;
/** A head is compiled for multiples of this, and for one row. */
const HEAD_STEP = 32;

export class Network {
  readonly spec: ModelSpec;
  readonly weights: BaseWeights;
  readonly cache: SessionCache;
  readonly #workspace = new Workspace();

  constructor(spec: ModelSpec, weights: BaseWeights, cache: SessionCache) {
    this.spec = spec;
    this.weights = weights;
    this.cache = cache;
  }

  /** Hidden states before the final norm, [rows * length, hidden]; valid until the next call. */
  async forward(micro: MicroBatch, adapter: AdapterLayers | undefined): Promise<Float32Array> {
    const { spec } = this;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await blockSegment(this.cache, spec, blockShape(kind, micro, adapter)),
      shared: this.#shared(kind, micro),
    }));
    let x = await this.embed(micro.ids, micro.positions);
    for (let layer = 0; layer < spec.layers; layer++) {
      const { segment, shared } = layers[layer]!;
      const out = this.#workspace.tensors(layer % 2, segment.forward.program.outputs);
      await segment.forward.run(
        [shared, this.weights.layers[layer]!, adapter?.layers[layer]!.values ?? {}, { x }],
        out,
      );
      x = out['y']!;
    }
    return numbers(x);
  }

  /**
   * Forward and backward. Adds the gradient of `weight` times the summed loss to the adapter's gradients.
   * @returns the loss of each label, in the micro-batch's order.
   */
  async train(micro: MicroBatch, adapter: AdapterLayers, weight: number): Promise<Float32Array> {
    const { spec } = this;
    const layers = await byLayer(spec, async (kind) => ({
      segment: await trainingSegment(this.cache, spec, blockShape(kind, micro, adapter)),
      shared: this.#shared(kind, micro),
    }));
    const inputs: Tensor[] = [await this.embed(micro.ids, micro.positions)];
    const saved: Tensors[] = [];
    for (let layer = 0; layer < spec.layers; layer++) {
      const { segment, shared } = layers[layer]!;
      const out = this.#workspace.tensors(layer, segment.forward.program.outputs);
      const from = [shared, this.weights.layers[layer]!, adapter.layers[layer]!.values, { x: inputs[layer]! }];
      await segment.forward.run(from, out);
      saved.push(out);
      inputs.push(out['y']!);
    }
    const { losses, dx } = await this.#headBackward(micro, numbers(inputs[spec.layers]!), weight);
    let dy = dx;
    for (let layer = spec.layers - 1; layer >= 0; layer--) {
      const { segment, shared } = layers[layer]!;
      const { values, gradients } = adapter.layers[layer]!;
      const next = this.#tensor(spec.layers + 1 + (layer % 2), 'd.x', dy.dims);
      const from = [shared, this.weights.layers[layer]!, values, gradients, saved[layer]!, { x: inputs[layer]!, dy }];
      await segment.backward.run(from, { ...gradients, 'd.x': next });
      dy = next;
    }
    return losses;
  }

  /** Losses of the labelled rows of hidden states, in nats. */
  async losses(micro: MicroBatch, hidden: Float32Array): Promise<Float32Array> {
    const losses = new Float32Array(micro.places.length);
    await this.#headChunks(micro, hidden, 'loss', async (segment, feeds, start, count) => {
      const loss = this.#tensor(this.spec.layers + 4, 'loss', [segment.rows, 1]);
      await segment.session.run([feeds], { loss });
      losses.set(numbers(loss).subarray(0, count), start);
    });
    return losses;
  }

  /** Logits [count, vocab] of rows of hidden states, by their places. */
  async logits(hidden: Float32Array, places: Int32Array): Promise<Float32Array> {
    const { vocab } = this.spec;
    const out = new Float32Array(places.length * vocab);
    const micro = { places, labels: new Int32Array(places.length) };
    await this.#headChunks(micro, hidden, 'logits', async (segment, feeds, start, count) => {
      const logits = this.#tensor(this.spec.layers + 4, 'logits', [segment.rows, vocab]);
      await segment.session.run([feeds], { logits });
      out.set(numbers(logits).subarray(0, count * vocab), start * vocab);
    });
    return out;
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
  ): Promise<{ losses: Float32Array; dx: Tensor }> {
    const { hidden: size, layers } = this.spec;
    const dx = this.#tensor(layers + 3, 'dx', [micro.rows * micro.length, size]);
    const all = numbers(dx).fill(0);
    const losses = new Float32Array(micro.places.length);
    await this.#headChunks(micro, hidden, 'train', async (segment, feeds, start, count) => {
      const weights = new Float32Array(segment.rows).fill(weight, 0, count);
      const out = this.#workspace.tensors(layers + 4, segment.session.program.outputs);
      await segment.session.run([feeds, { dy: tensor(weights, [segment.rows, 1]) }], out);
      losses.set(numbers(out['loss']!).subarray(0, count), start);
      const rows = numbers(out['d.x']!);
      for (let i = 0; i < count; i++) all.set(rows.subarray(i * size, (i + 1) * size), micro.places[start + i]! * size);
    });
    return { losses, dx };
  }

  /** Feeds labelled rows to the head, some at a time; the last ones padded with zeros, which give finite numbers. */
  async #headChunks(
    micro: Pick<MicroBatch, 'places' | 'labels'>,
    hidden: Float32Array,
    kind: 'loss' | 'train' | 'logits',
    each: (
      segment: Awaited<ReturnType<typeof headSegment>>,
      feeds: Tensors,
      start: number,
      count: number,
    ) => Promise<void>,
  ): Promise<void> {
    const size = this.spec.hidden;
    for (let start = 0; start < micro.places.length; start += HEAD_ROWS) {
      const count = Math.min(HEAD_ROWS, micro.places.length - start);
      const rows = count === 1 ? 1 : Math.ceil(count / HEAD_STEP) * HEAD_STEP;
      const segment = await headSegment(this.cache, this.spec, kind, rows);
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
      await each(segment, { ...final, x, head, labels: integers(labels, [rows, 1]) }, start, count);
    }
  }

  /** Embeddings [n, hidden] of ids [n] at their positions [n]; valid until the next call. Throws INPUT_INVALID. */
  async embed(ids: Int32Array, positions: Int32Array): Promise<Tensor> {
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
    await segment.forward.run([this.weights.embedding, feeds], out);
    return out['x']!;
  }

  /** What all blocks of a kind take of a micro-batch: positions, rotary tables, masks. */
  #shared(kind: LayerKind, micro: MicroBatch): Tensors {
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

  #tensor(slot: number, name: string, shape: readonly number[]): Tensor {
    return this.#workspace.tensors(slot, new Map([[name, { shape, dtype: 'float32' }]]))[name]!;
  }
}

const blockShape = (kind: LayerKind, micro: MicroBatch, adapter: AdapterLayers | undefined): BlockShape => ({
  kind,
  batch: micro.rows,
  time: micro.length,
  packed: micro.packed,
  adapter: adapter?.shape,
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
