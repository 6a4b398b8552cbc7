/** @file Generation of several documents at a time: a token of each in one pass over the weights, whose reading is what a token costs. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { LayerKind } from '../architectures/spec.ts';
import { createTurns, takingTurns } from '../generate/turns.ts';
import { firstKey, MASKED } from '../layers/attention.ts';
import { integers, numbers, tensor, type Tensors } from '../segments/session.ts';
import { Workspace } from '../segments/workspace.ts';
import type { Decoder } from '../types.ts';
import { CACHE_STEP, copyHeads, grown, runCachedLayers, type LayerCache } from './cached-layers.ts';
import { CachedDecoder } from './decoder.ts';
import type { Network, Trained } from './network.ts';
import { windowIn } from './segments.ts';

/** A token that is asked for, and who waits for what follows it. */
interface Step {
  readonly row: number;
  readonly id: number;
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

export class BatchDecoder {
  readonly #network: Network;
  readonly #trained: Trained | undefined;
  readonly #rows: number;
  readonly #workspace = new Workspace();
  /** Reads prompts, one at a time: what it holds afterwards goes to a row. */
  readonly #reader: CachedDecoder;
  readonly #inTurn = createTurns();
  /** Tokens in each row's cache; null where no document has the row. */
  readonly #lengths: (number | null)[];
  #cache: readonly LayerCache[] = [];
  #capacity = 0;
  #waiting: Step[] = [];

  constructor(network: Network, trained: Trained | undefined, rows: number) {
    this.#network = network;
    this.#trained = trained;
    this.#rows = rows;
    this.#reader = new CachedDecoder(network, trained);
    this.#lengths = Array.from({ length: rows }, () => null);
  }

  /** A decoder of one document, which has a row until it is released. Tokens that several ask for at the same time are computed together. */
  open(): Decoder {
    // A longer text is turned otherwise there (LongRoPE), and read anew: such documents go one by one.
    if (this.#network.spec.kinds.some(({ rotary }) => rotary?.long))
      return takingTurns(new CachedDecoder(this.#network, this.#trained), this.#inTurn);
    const row = this.#lengths.indexOf(null);
    if (row < 0) throw new FettleError('INTERNAL', `No more than ${this.#rows} documents are generated at a time.`);
    this.#lengths[row] = 0;
    return {
      maxTokens: this.#reader.maxTokens,
      prefill: (ids) => this.#inTurn(() => this.#prefill(row, ids)),
      step: (id) => this.#ask(row, id),
      release: () => this.#inTurn(async () => void (this.#lengths[row] = null)),
    };
  }

  async release(): Promise<void> {
    await this.#reader.release();
    this.#cache = [];
    this.#capacity = 0;
    this.#workspace.release();
  }

  async #prefill(row: number, ids: readonly number[]): Promise<Float32Array> {
    const logits = await this.#reader.prefill(ids);
    this.#makeRoom(this.#reader.length);
    this.#reader.copyTo(this.#cache, this.#capacity, row);
    this.#lengths[row] = this.#reader.length;
    return logits;
  }

  #ask(row: number, id: number): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ row, id, resolve, reject });
      // After this turn of the event loop, in which the others that were answered together ask for their next.
      if (this.#waiting.length === 1) setImmediate(() => void this.#inTurn(() => this.#advance()));
    });
  }

  async #advance(): Promise<void> {
    const steps = this.#waiting;
    this.#waiting = [];
    try {
      const logits = await this.#run(steps);
      const { vocab } = this.#network.spec;
      for (const [i, { resolve }] of steps.entries()) resolve(logits.subarray(i * vocab, (i + 1) * vocab));
    } catch (error) {
      for (const { reject } of steps) reject(error);
    }
  }

  /** @returns logits [steps, vocab] */
  async #run(steps: readonly Step[]): Promise<Float32Array> {
    const network = this.#network;
    const { spec } = network;
    this.#makeRoom(1 + Math.max(...steps.map(({ row }) => this.#lengths[row] ?? 0)));
    const batch = batchOf(1 + Math.max(...steps.map(({ row }) => row)), this.#rows);
    const past = this.#capacity;
    const ids = new Int32Array(batch);
    for (const { row, id } of steps) ids[row] = id;
    const { y, made } = await runCachedLayers({
      network,
      trained: this.#trained,
      workspace: this.#workspace,
      shape: { batch, time: 1, past },
      shared: (kind) => this.#shared(kind, steps, batch, past),
      cache: this.#cache.map(({ k, v }) => ({ k: this.#first(k, batch), v: this.#first(v, batch) })),
      x: await network.embed(ids, this.#positions(steps, batch), this.#trained),
    });
    made.forEach((fresh, layer) => {
      for (const name of ['k', 'v'] as const)
        for (const { row } of steps)
          copyHeads(
            { of: fresh[name], length: 1, row, at: 0 },
            { of: this.#cache[layer]![name], length: past, row, at: this.#lengths[row] ?? 0 },
            1,
            spec,
          );
    });
    for (const { row } of steps) this.#lengths[row] = (this.#lengths[row] ?? 0) + 1;
    return network.logits(
      y,
      Int32Array.from(steps, ({ row }) => row),
      this.#trained,
    );
  }

  #positions(steps: readonly Step[], batch: number): Int32Array {
    const positions = new Int32Array(batch);
    for (const { row } of steps) positions[row] = this.#lengths[row] ?? 0;
    return positions;
  }

  /** Rows that nothing is asked of see nothing of their cache: what comes out of them is not looked at. */
  async #shared(kind: LayerKind, steps: readonly Step[], batch: number, past: number): Promise<Tensors> {
    const window = windowIn(kind, past + 1);
    const mask = new Float32Array(batch * past).fill(MASKED);
    for (const { row } of steps) {
      const length = this.#lengths[row] ?? 0;
      mask.fill(0, row * past + firstKey(length, window), row * past + length);
    }
    return {
      positions: integers(this.#positions(steps, batch), [batch, 1]),
      ...(await this.#network.tables.of(kind, past + 1, ['short'])),
      mask: tensor(mask, [batch, 1, 1, past]),
    };
  }

  /** The first rows of a cache, where it lies. */
  #first(cache: Tensor, batch: number): Tensor {
    const { kvHeads, headDim } = this.#network.spec;
    const size = kvHeads * this.#capacity * headDim;
    return tensor(numbers(cache).subarray(0, batch * size), [batch, kvHeads, this.#capacity, headDim]);
  }

  #makeRoom(tokens: number): void {
    if (tokens <= this.#capacity) return;
    const capacity = Math.ceil(tokens / CACHE_STEP) * CACHE_STEP;
    const lengths = this.#lengths.map((length) => length ?? 0);
    this.#cache = grown(this.#cache, this.#rows, this.#capacity, capacity, lengths, this.#network.spec);
    this.#capacity = capacity;
  }
}

/** A program is compiled for each size: powers of two are enough. */
const batchOf = (rows: number, most: number): number => Math.min(most, 2 ** Math.ceil(Math.log2(rows)));
