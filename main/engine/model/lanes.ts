/**
 * @file Micro-batches side by side, each lane in a thread of its own. The runtime gains little from a second thread within
 * a small product and holds up its caller while it works; lanes wait for each other once a step
 * (docs/decisions/engine-speed.md).
 */
import type { HfConfig } from '../../formats/model.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { sharedFloats } from '../segments/mapped.ts';
import type { Batch } from '../types.ts';
import { LaneThread } from './lane-client.ts';
import { runMicros, type LaneModel, type Numbered } from './lane.ts';
import { microBatches } from './microbatch.ts';
import type { Network, TrainSettings } from './network.ts';

/** More would keep the activations of more micro-batches in memory at once. */
const MOST_LANES = 4;
/** With so many threads there are that many lanes, and more than one thread for each. */
const THREADS_FOR_MOST = 8;
/** Where more numbers are trained (all of a model, say), a lane's own gradients take more memory than the lane is worth. */
export const MOST_GRADIENTS = 32e6;
/** Below so many multiplications a batch is done before another thread has heard of it. */
const WORTH_IT = 5e9;

export function lanesFor(threads: number): number {
  // The runtime crashes in threads of Electron's own Node (onnxruntime issue 20084).
  if (threads < 2 || process.versions['electron'] !== undefined) return 1;
  return threads < THREADS_FOR_MOST ? 2 : MOST_LANES;
}

/** Lanes for a batch of so many tokens. */
export function lanesWorth(spec: ModelSpec, threads: number, tokens: number): number {
  const weights = spec.hidden * spec.vocab + spec.layers * spec.projections.reduce((n, p) => n + sizeOfAll(p), 0);
  return tokens * weights > WORTH_IT ? lanesFor(threads) : 1;
}

/** The networks that run a batch's micro-batches. */
export class Lanes {
  readonly #whole: Network;
  readonly #config: HfConfig;
  readonly #asked: number | undefined;
  #first: Network | undefined;
  #threads: LaneThread[] = [];

  /**
   * @param whole a network with all threads: the only one where there is one micro-batch or little to do.
   * @param config of the model: a thread reads its architecture from it.
   * @param asked lanes, whatever there is to do; otherwise as many as pay.
   */
  constructor(whole: Network, config: HfConfig, asked?: number) {
    this.#whole = whole;
    this.#config = config;
    this.#asked = asked;
  }

  /** Losses of a batch's labels in nats, in their order. */
  async losses(batch: Batch, model: LaneModel | undefined): Promise<Float32Array> {
    const out = new Float32Array(batch.labels.reduce((n, label) => n + (label >= 0 ? 1 : 0), 0));
    const micros = await this.#run(batch, this.#lanes(batch), model);
    for (const { micro, losses } of micros) losses.forEach((loss, i) => (out[micro.ranks[i]!] = loss));
    return out;
  }

  /**
   * Adds the gradients of a batch to those of the model.
   * @param settings of a micro-batch, by its number.
   * @returns the summed loss of the labels, in nats.
   */
  async train(batch: Batch, model: LaneModel, settings: (number: number) => TrainSettings): Promise<number> {
    const { parameters, others } = model;
    // A row is not divided: what has one has no use for gradients of another lane.
    const lanes = batch.rows === 1 || parameters.values.length > MOST_GRADIENTS ? 1 : this.#lanes(batch);
    while (others.length < lanes - 1) others.push(sharedFloats(parameters.values.length));
    const used = others.slice(0, lanes - 1);
    for (const own of used) own.fill(0);
    const micros = await this.#run(batch, lanes, model, settings);
    for (const own of used) {
      const { gradients } = parameters;
      for (let i = 0; i < own.length; i++) gradients[i]! += own[i]!;
    }
    // In the order of the batch, so that the sum hangs on no lane.
    return micros
      .toSorted((a, b) => a.number - b.number)
      .reduce((sum, { losses }) => losses.reduce((all, loss) => all + loss, sum), 0);
  }

  /** Lanes that a batch has, however much there is to do: sums that were made in other lanes may differ in their last digits. */
  get most(): number {
    return this.#asked ?? lanesFor(this.#whole.cache.options.threads);
  }

  async release(): Promise<void> {
    await this.#closeThreads();
    for (const network of [this.#whole, this.#first]) {
      await network?.release();
      await network?.cache.release();
    }
  }

  #lanes({ tokens }: Batch): number {
    if (this.#asked !== undefined) return this.#asked;
    const { spec, cache } = this.#whole;
    const { device, threads } = cache.options;
    return device === 'cpu' ? lanesWorth(spec, threads, tokens) : 1;
  }

  async #run(
    batch: Batch,
    lanes: number,
    model: LaneModel | undefined,
    settings?: (number: number) => TrainSettings,
  ): Promise<(Numbered & { readonly losses: Float32Array })[]> {
    const numbered = microBatches(batch, lanes, this.#whole.pieces.tokens).map((micro, number) => ({
      micro,
      number,
      settings: settings?.(number),
    }));
    const [own = [], ...others] = share(numbered, lanes);
    const network = others.length > 0 ? await this.#open(lanes) : this.#whole;
    const gradients = (lane: number): Float32Array | undefined => (settings ? model?.others[lane] : undefined);
    const settled = await Promise.allSettled([
      ...others.map((list, lane) => this.#threads[lane]!.run(list, model, gradients(lane))),
      runMicros(network, own, model?.trained),
    ]);
    const losses = settled.flatMap((each) => {
      if (each.status === 'rejected') throw each.reason;
      return each.value;
    });
    return [...others.flat(), ...own].map((each, i) => ({ ...each, losses: losses[i]! }));
  }

  /** The first lane's network, with the others ready. */
  async #open(lanes: number): Promise<Network> {
    const { cache, weights } = this.#whole;
    const threads = Math.max(1, Math.floor(cache.options.threads / lanes));
    // Where all weights are trained they took the base's place.
    if (this.#threads[0] && this.#threads[0].weights !== weights) await this.#closeThreads();
    while (this.#threads.length < lanes - 1)
      this.#threads.push(new LaneThread(this.#config, { ...cache.options, threads }, weights));
    return (this.#first ??= this.#whole.beside(threads));
  }

  async #closeThreads(): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    for (const thread of threads) await thread.close();
  }
}

const sizeOfAll = ({ from, parts }: { from: number; parts: readonly { to: number }[] }): number =>
  from * parts.reduce((sum, { to }) => sum + to, 0);

/**
 * Micro-batches for each lane: the largest first, each to the lane that has least to do, so that who does what hangs on
 * their sizes alone and sums come out with the same bits each time. Lanes with nothing are left out.
 */
function share(numbered: readonly Numbered[], lanes: number): Numbered[][] {
  const shares: { tokens: number; own: Numbered[] }[] = Array.from({ length: lanes }, () => ({ tokens: 0, own: [] }));
  const size = ({ micro }: Numbered): number => micro.rows * micro.length;
  for (const each of numbered.toSorted((a, b) => size(b) - size(a) || a.number - b.number)) {
    const least = shares.reduce((a, b) => (b.tokens < a.tokens ? b : a));
    least.own.push(each);
    least.tokens += size(each);
  }
  return shares.flatMap(({ own }) => (own.length > 0 ? [own] : []));
}
