/** @file Puts a base's weights into the precision that it is kept in. */
import type { Tensor } from 'onnxruntime-node';
import { discard } from '../../formats/discard.ts';
import { roundToFloat16 } from '../../formats/floats.ts';
import type { Precision } from '../../contract/recipe.ts';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import { Network } from '../model/network.ts';
import type { Freeze, Linears } from '../model/weights.ts';
import { halves, numbers, SessionCache, type Tensors } from '../segments/session.ts';
import { peaksName, type Calibration } from './calibration.ts';
import { Gptq, noMoments, noNumbers } from './gptq.ts';
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
 * Throws CHECKPOINT_INVALID where what int8 was rounded by is of another model; MODEL_INCOMPLETE where int4 meets values
 * that are none.
 */
export function freezer(
  spec: ModelSpec,
  precision: Precision,
  rounding: Rounding | undefined,
  threads: number,
  tell: (done: string) => void = () => undefined,
): Freeze {
  if (precision === 'fp32') return EXACT;
  if (precision === 'fp16') return IN_HALF;
  if (!rounding) throw new TypeError('whole steps need to be told how to round');
  return precision === 'int4' ? new InFour(spec, rounding, threads, tell) : inEight(spec, rounding);
}

const EXACT: Freeze = {
  begin: (embedding) => Promise.resolve(embedding),
  block: (_layer, own, linears) => Promise.resolve(withLinears(own, linears)),
  head: (weight) => Promise.resolve({ [HEAD]: weight }),
  release: () => Promise.resolve(),
};

const IN_HALF: Freeze = {
  ...EXACT,
  begin: async ({ embedding, ...others }) => ({ embedding: inHalf(embedding!), ...others }),
  block: async (_layer, own, linears) => {
    const all = { ...own };
    for (const { name, tensor } of [...linears.values()].flat()) all[name] = inHalf(tensor);
    return all;
  },
  // Where it is tied it is the table, which has gone through `begin`.
  head: async (weight) => ({ [HEAD]: weight.type === 'float16' ? weight : inHalf(weight) }),
};

/** Of a half's bits those that are all set in what is no finite number. */
const EXPONENT = 0x7c00;

/** The weight itself is given back. Throws MODEL_INCOMPLETE for values that are none, RECIPE_INVALID for those that halves cannot hold. */
function inHalf(weight: Tensor): Tensor {
  const exact = numbers(weight);
  const words = roundToFloat16(exact);
  if (words.some((word) => (word & EXPONENT) === EXPONENT)) {
    if (!exact.every(Number.isFinite)) throw noNumbers();
    throw new FettleError(
      'RECIPE_INVALID',
      'The model has weights beyond 65,504, which 16 bits cannot hold.',
      'Use precision=fp32, int8 or int4.',
    );
  }
  discard(exact);
  return halves(words, weight.dims);
}

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
    head: async (weight) =>
      roundedHead(weight, shared(undefined, HEAD, [{ name: HEAD, data: numbers(weight) }]), largest),
  };
}

/** Blocks in 4 bits, embedding and head in 8. Rows of tokens go through each block before it is rounded. */
class InFour implements Freeze {
  readonly #spec: ModelSpec;
  readonly #rounding: Rounding;
  readonly #tell: (done: string) => void;
  readonly #network: Network;
  readonly #gptq: Gptq;
  #observer: Observer | undefined;

  constructor(spec: ModelSpec, rounding: Rounding, threads: number, tell: (done: string) => void) {
    this.#spec = spec;
    this.#rounding = rounding;
    this.#tell = tell;
    const cache = new SessionCache({ device: 'cpu', threads, precision: 'fp32' }, new Set(spec.kinds).size);
    this.#network = new Network(spec, { weights: { embedding: {}, final: {}, head: {}, layers: [] } }, cache);
    this.#gptq = new Gptq(threads);
  }

  async begin(embedding: Tensors, tied: boolean): Promise<Tensors | undefined> {
    this.#network.weights = { ...this.#network.weights, embedding };
    this.#observer = await Observer.begin(this.#network, this.#rounding.rows);
    // A tied head has the embedding as its way back.
    if (tied) return undefined;
    const { embedding: table, ...positions } = embedding;
    const evenly = new Float32Array(this.#spec.hidden).fill(1);
    const rounded = int8Table({ name: 'embedding', data: numbers(table!) }, evenly, this.#rounding.largest);
    return { ...rounded, ...positions };
  }

  async block(layer: number, own: Tensors, linears: Linears): Promise<Tensors> {
    this.#tell(`block ${layer + 1} of ${this.#spec.layers}`);
    const moments = new Map(this.#spec.projections.map(({ name, from }) => [name, noMoments(from)]));
    await this.#observer!.pass(layer, withLinears(own, linears), 'moments', (projection, seen) =>
      moments.get(projection)!.forEach((sums, i) => addTo(sums, seen[i]!)),
    );
    const all = { ...own };
    for (const [projection, weights] of linears)
      Object.assign(all, await this.#gptq.round(weights, moments.get(projection)!));
    for (const sums of moments.values()) sums.forEach(discard);
    return all;
  }

  async head(weight: Tensor, final: Tensors): Promise<Tensors> {
    this.#network.weights = { ...this.#network.weights, final };
    const peaks = await this.#observer!.headPeaks();
    if (!peaks.every(Number.isFinite)) throw noNumbers();
    const data = numbers(weight);
    return roundedHead(weight, roughness([{ name: HEAD, data }], peaks), this.#rounding.largest);
  }

  async release(): Promise<void> {
    this.#observer?.release();
    await this.#network.release();
    await this.#network.cache.release();
    await this.#gptq.release();
  }
}

function addTo(sum: Float64Array, numbers: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += numbers[i]!;
}
