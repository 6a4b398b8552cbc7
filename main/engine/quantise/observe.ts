/** @file Rows of tokens on their way through a model in float32, a block at a time: what each projection is seen to multiply. */
import { discard } from '../../formats/discard.ts';
import { documentBatch, LENGTH_STEP, microBatches, type MicroBatch } from '../model/microbatch.ts';
import { blockShape, type Network } from '../model/network.ts';
import { observingSegment, type Observed } from '../model/segments.ts';
import { numbers, tensor, zeros, type Tensors } from '../segments/session.ts';
import type { Example } from '../types.ts';

/** Rows that are looked at (Xiao et al. 2023 take more; 16 kept the loss, docs/decisions/engine-speed.md). */
export const OBSERVED_ROWS = 16;
/** Tokens of each. */
export const OBSERVED_TOKENS = 128;

/** The rows to look at: the first of the training examples, cut so that nothing is padded, since what padding says would be counted too. */
export const observedRows = (examples: readonly Example[]): Int32Array[] =>
  examples.slice(0, OBSERVED_ROWS).map(({ ids }) => {
    const length = Math.max(LENGTH_STEP, Math.min(OBSERVED_TOKENS, Math.floor(ids.length / LENGTH_STEP) * LENGTH_STEP));
    return Int32Array.from({ length }, (_, i) => ids[i % ids.length]!);
  });

/** Hidden states of some rows, before the block that comes next. */
export class Observer {
  readonly #network: Network;
  readonly #batches: { readonly micro: MicroBatch; x: Float32Array }[];

  private constructor(network: Network, batches: { readonly micro: MicroBatch; x: Float32Array }[]) {
    this.#network = network;
    this.#batches = batches;
  }

  /** @param network in float32, of which the embedding is enough. */
  static async begin(network: Network, rows: readonly Int32Array[]): Promise<Observer> {
    const batches = [];
    // Rows of one length go together: nothing is padded, and each is looked at as it would be alone.
    for (const alike of Map.groupBy(rows, (row) => row.length).values())
      for (const micro of microBatches(documentBatch(...alike))) {
        const x = await network.embed(micro.ids, micro.positions, undefined);
        batches.push({ micro, x: numbers(x).slice() });
      }
    return new Observer(network, batches);
  }

  /**
   * Through block `layer`, whose weights are given in float32.
   * @param see is told, once for each micro-batch, what was seen of each projection's input; the numbers are gone afterwards.
   */
  async pass(
    layer: number,
    weights: Tensors,
    what: Observed,
    see: (projection: string, seen: readonly Float32Array[]) => void,
  ): Promise<void> {
    const { spec, cache } = this.#network;
    const kind = spec.kinds[layer]!;
    for (const batch of this.#batches) {
      const { micro } = batch;
      const { forward, seen } = await observingSegment(cache, spec, blockShape(kind, micro, undefined), what);
      const x = tensor(batch.x, [micro.rows * micro.length, spec.hidden]);
      const out = Object.fromEntries([...forward.program.outputs].map(([name, type]) => [name, zeros(type.shape)]));
      await forward.run([await this.#network.shared(kind, micro), weights, { x }], out);
      discard(batch.x);
      batch.x = numbers(out['y']!);
      for (const [projection, names] of seen) {
        const found = names.map((name) => numbers(out[name]!));
        see(projection, found);
        found.forEach(discard);
      }
    }
  }

  release(): void {
    for (const { x } of this.#batches) discard(x);
  }

  /** After the last block: the largest magnitudes [hidden] of what the head multiplies. */
  async headPeaks(): Promise<Float32Array> {
    const { hidden } = this.#network.spec;
    const peaks = new Float32Array(hidden);
    for (const { micro, x } of this.#batches)
      raise(peaks, await this.#network.headPeaks(tensor(x, [micro.rows * micro.length, hidden]), micro.places));
    return peaks;
  }
}

/** Each to what was seen now, where that is larger; a value that is none stays. */
export function raise(peaks: Float32Array, seen: Float32Array): void {
  seen.forEach((peak, i) => (peaks[i] = Math.max(peaks[i]!, peak)));
}
