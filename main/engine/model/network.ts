/** @file Runs a model's segments over a micro-batch: embedding, blocks, head; and back. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import type { AdapterShape } from '../layers/block.ts';
import { integers, numbers, tensor, type SessionCache, type Tensors } from '../segments/session.ts';
import { Workspace } from '../segments/workspace.ts';
import { blockSegment, embedSegment, headSegment, trainingSegment, type BlockShape } from './segments.ts';
import { packedMasks, type MicroBatch } from './microbatch.ts';
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
    const segment = await blockSegment(this.cache, spec, blockShape(micro, adapter));
    const shared = this.shared(micro);
    let x = await this.embed(micro.ids);
    for (let layer = 0; layer < spec.layers; layer++) {
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
    const segment = await trainingSegment(this.cache, spec, blockShape(micro, adapter));
    const shared = this.shared(micro);
    const inputs: Tensor[] = [await this.embed(micro.ids)];
    const saved: Tensors[] = [];
    for (let layer = 0; layer < spec.layers; layer++) {
      const out = this.#workspace.tensors(layer, segment.forward.program.outputs);
      const from = [shared, this.weights.layers[layer]!, adapter.layers[layer]!.values, { x: inputs[layer]! }];
      await segment.forward.run(from, out);
      saved.push(out);
      inputs.push(out['y']!);
    }
    const { losses, dx } = await this.#headBackward(micro, numbers(inputs[spec.layers]!), weight);
    let dy = dx;
    for (let layer = spec.layers - 1; layer >= 0; layer--) {
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

  /** The largest magnitudes [hidden] of what the head multiplies, over some rows of hidden states. */
  async headPeaks(hidden: Float32Array, places: Int32Array): Promise<Float32Array> {
    const all = new Float32Array(this.spec.hidden);
    const micro = { places, labels: new Int32Array(places.length) };
    await this.#headChunks(micro, hidden, 'peaks', async (segment, feeds) => {
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
    kind: 'loss' | 'train' | 'logits' | 'peaks',
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
      const { finalNorm, head } = this.weights;
      await each(segment, { x, finalNorm, ...head, labels: integers(labels, [rows, 1]) }, start, count);
    }
  }

  /** Embeddings [n, hidden] of ids [n]; valid until the next call. Throws INPUT_INVALID. */
  async embed(ids: Int32Array): Promise<Tensor> {
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
    await segment.forward.run([this.weights.embedding, { ids: integers(ids, [n]) }], out);
    return out['x']!;
  }

  /** What all blocks of a micro-batch take: positions, rotary tables, masks. */
  shared(micro: MicroBatch): Tensors {
    const { rows, length } = micro;
    const shared: Record<string, Tensor> = {
      positions: integers(micro.positions, [rows, length]),
      ...rotaryTables(this.spec, length),
    };
    if (micro.packed) for (const { name, data, shape } of packedMasks(micro)) shared[name] = tensor(data, shape);
    return shared;
  }

  #tensor(slot: number, name: string, shape: readonly number[]): Tensor {
    return this.#workspace.tensors(slot, new Map([[name, { shape, dtype: 'float32' }]]))[name]!;
  }
}

export const blockShape = (micro: MicroBatch, adapter: AdapterLayers | undefined): BlockShape => ({
  batch: micro.rows,
  time: micro.length,
  packed: micro.packed,
  adapter: adapter?.shape,
});

/** cos and sin of each position's angles, [positions, headDim / 2]. */
export function rotaryTables(spec: ModelSpec, positions: number): { cos: Tensor; sin: Tensor } {
  const half = spec.headDim / 2;
  const [cos, sin] = [new Float32Array(positions * half), new Float32Array(positions * half)];
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < half; i++) {
      cos[p * half + i] = Math.cos(p * spec.frequencies[i]!);
      sin[p * half + i] = Math.sin(p * spec.frequencies[i]!);
    }
  return { cos: tensor(cos, [positions, half]), sin: tensor(sin, [positions, half]) };
}
