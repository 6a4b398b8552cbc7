/** @file Puts a base's weights into the precision that it is kept in. */
import type { Tensor } from 'onnxruntime-node';
import type { Precision } from '../../contract/recipe.ts';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import { Network } from '../model/network.ts';
import type { Freeze, Linears } from '../model/weights.ts';
import { numbers, SessionCache, type Tensors } from '../segments/session.ts';
import { peaksName, type Calibration } from './calibration.ts';
import { Gptq, noMoments } from './gptq.ts';
import { int8Head, int8Table, int8Weight, roughness, smoothTensors, type Weight } from './int8.ts';
import { Observer } from './observe.ts';

/** What a base in fewer bits was rounded by: kept with a run's checkpoints, since it decides every bit that follows. */
export interface Rounding {
  /** Token ids of the rows that are looked at. */
  readonly rows: readonly Int32Array[];
  /** What was seen of them for int8; int4 looks at them when it is made. */
  readonly peaks: Calibration;
  /** The largest magnitude of an 8-bit weight: 127, or 63 where the CPU's products of 8 bits saturate. */
  readonly largest: number;
}

/**
 * @param tell is told how far it is, where it takes long.
 * Throws CHECKPOINT_INVALID where the rounding is of another model.
 */
export function freezer(
  spec: ModelSpec,
  precision: Precision,
  rounding: Rounding | undefined,
  threads: number,
  tell: (done: string) => void = () => undefined,
): Freeze {
  if (precision === 'fp32') return EXACT;
  if (!rounding) throw new TypeError('fewer bits need to be told how to round');
  return precision === 'int4' ? new InFour(spec, rounding, threads, tell) : inEight(spec, rounding);
}

const EXACT: Freeze = {
  headLast: false,
  begin: () => Promise.resolve(),
  outer: (embedding, head) => Promise.resolve({ embedding, head: { [HEAD]: head } }),
  block: (_layer, own, linears) => Promise.resolve(withLinears(own, linears)),
  release: () => Promise.resolve(),
};

const withLinears = (own: Tensors, linears: Linears): Tensors => ({
  ...own,
  ...Object.fromEntries([...linears.values()].flat().map(({ name, tensor }) => [name, tensor])),
});

const roundedHead = (head: Tensor, rough: Float32Array, largest: number): Tensors => ({
  ...smoothTensors(HEAD, rough),
  ...int8Head({ name: HEAD, data: numbers(head) }, rough, largest),
});

function inEight(spec: ModelSpec, { peaks, largest }: Rounding): Freeze {
  /** What the weights of one input share, from what was seen of it. */
  function shared(layer: number | undefined, projection: string, weights: readonly Weight[]): Float32Array {
    const seen = peaks.get(peaksName(spec, layer, projection));
    if (!seen || weights.some(({ data }) => data.length % seen.length !== 0))
      throw new FettleError('CHECKPOINT_INVALID', 'What int8 was rounded by belongs to another model.');
    return roughness(weights, seen);
  }
  return {
    ...EXACT,
    outer: async (embedding, head) => ({
      embedding,
      head: roundedHead(head, shared(undefined, HEAD, [{ name: HEAD, data: numbers(head) }]), largest),
    }),
    block: async (layer, own, linears) => {
      const all = { ...own };
      for (const [projection, given] of linears) {
        const weights = given.map(({ name, tensor }) => ({ name, data: numbers(tensor) }));
        const rough = shared(layer, projection, weights);
        Object.assign(all, smoothTensors(projection, rough));
        for (const weight of weights) Object.assign(all, int8Weight(weight, rough, largest));
      }
      return all;
    },
  };
}

/** Blocks in 4 bits, embedding and head in 8. Rows of tokens go through each block before it is rounded. */
class InFour implements Freeze {
  readonly headLast = true;
  readonly #spec: ModelSpec;
  readonly #rounding: Rounding;
  readonly #cache: SessionCache;
  readonly #gptq: Gptq;
  readonly #tell: (done: string) => void;
  #network!: Network;
  #observer!: Observer;

  constructor(spec: ModelSpec, rounding: Rounding, threads: number, tell: (done: string) => void) {
    this.#spec = spec;
    this.#rounding = rounding;
    this.#cache = new SessionCache({ device: 'cpu', threads, precision: 'fp32' }, new Set(spec.kinds).size);
    this.#gptq = new Gptq(threads);
    this.#tell = tell;
  }

  async begin(embedding: Tensors): Promise<void> {
    this.#network = new Network(this.#spec, { weights: { embedding, final: {}, head: {}, layers: [] } }, this.#cache);
    this.#observer = await Observer.begin(this.#network, this.#rounding.rows);
  }

  async block(layer: number, own: Tensors, linears: Linears): Promise<Tensors> {
    this.#tell(`block ${layer + 1} of ${this.#spec.layers}`);
    const moments = new Map(this.#spec.projections.map(({ name, from }) => [name, noMoments(from)]));
    await this.#observer.pass(layer, withLinears(own, linears), 'moments', (projection, seen) =>
      moments.get(projection)!.forEach((sums, i) => addTo(sums, seen[i]!)),
    );
    const all = { ...own };
    for (const [projection, weights] of linears)
      Object.assign(all, await this.#gptq.round(weights, moments.get(projection)!));
    return all;
  }

  async outer(embedding: Tensors, head: Tensor, final: Tensors): Promise<{ embedding: Tensors; head: Tensors }> {
    const { hidden } = this.#spec;
    this.#network.weights = { ...this.#network.weights, final };
    const peaks = new Float32Array(hidden);
    await this.#observer.headPeaks((seen) => seen.forEach((x, i) => (peaks[i] = Math.max(peaks[i]!, x))));
    const { largest } = this.#rounding;
    const rounded = roundedHead(head, roughness([{ name: HEAD, data: numbers(head) }], peaks), largest);
    const { embedding: table, ...positions } = embedding;
    // A tied head has the embedding as its way back.
    const first =
      table === head
        ? rounded
        : int8Table({ name: 'embedding', data: numbers(table!) }, new Float32Array(hidden).fill(1), largest);
    return { embedding: { ...first, ...positions }, head: rounded };
  }

  async release(): Promise<void> {
    await this.#network.release();
    await this.#cache.release();
    await this.#gptq.release();
  }
}

function addTo(sum: Float64Array, numbers: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += numbers[i]!;
}
