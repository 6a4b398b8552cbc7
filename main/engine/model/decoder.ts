/** @file Generation token by token with a cache of keys and values. */
import { FettleError } from '../../contract/errors.ts';
import { firstKey, MASKED } from '../layers/attention.ts';
import { integers, tensor, type Tensors } from '../segments/session.ts';
import { Workspace } from '../segments/workspace.ts';
import type { Decoder } from '../types.ts';
import type { LayerKind } from '../architectures/spec.ts';
import { CACHE_STEP, copyHeads, grown, runCachedLayers, type LayerCache } from './cached-layers.ts';
import { roundedLength } from './microbatch.ts';
import type { Network, Trained } from './network.ts';
import { windowIn } from './segments.ts';

/** A prompt is read in pieces of at most this many tokens, so that its attention needs little memory. */
const PREFILL_TOKENS = 512;

/** One document at a time. What is trained is read where it lies: a step of training between two tokens would be seen. */
export class CachedDecoder implements Decoder {
  readonly #network: Network;
  readonly #trained: Trained | undefined;
  readonly #workspace = new Workspace();
  /** Keys and values of each layer, [1, kvHeads, capacity, headDim]. */
  #cache: readonly LayerCache[] = [];
  #capacity = 0;
  #length = 0;
  /** What was read so far, for a start from anew where a longer text is turned otherwise (LongRoPE). */
  #ids: number[] = [];

  constructor(network: Network, trained: Trained | undefined) {
    this.#network = network;
    this.#trained = trained;
  }

  get maxTokens(): number {
    return this.#network.spec.maxPositions;
  }

  async prefill(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new FettleError('INPUT_INVALID', 'There is nothing to continue: the prompt is empty.');
    this.#length = 0;
    this.#ids = [...ids];
    let logits: Float32Array | undefined;
    for (let start = 0; start < ids.length; start += PREFILL_TOKENS) {
      const piece = ids.slice(start, start + PREFILL_TOKENS);
      const last = start + piece.length === ids.length;
      logits = await this.#advance(piece, roundedLength(piece.length), last);
    }
    return logits!;
  }

  /** Tokens of the document so far. */
  get length(): number {
    return this.#length;
  }

  /** Copies the keys and values of the document to row `row` of caches [rows, kvHeads, capacity, headDim]. */
  copyTo(cache: readonly LayerCache[], capacity: number, row: number): void {
    this.#cache.forEach((from, layer) => {
      for (const name of ['k', 'v'] as const)
        copyHeads(
          { of: from[name], length: this.#capacity, row: 0, at: 0 },
          { of: cache[layer]![name], length: capacity, row, at: 0 },
          this.#length,
          this.#network.spec,
        );
    });
  }

  async step(id: number): Promise<Float32Array> {
    if (this.#length === 0) throw new FettleError('INPUT_INVALID', 'Generation begins with a prompt.');
    this.#ids.push(id);
    // Keys in the cache were turned as a shorter text's are: they are of no use from here on.
    const crossing = this.#network.spec.kinds.some(({ rotary }) => rotary?.long?.after === this.#length);
    return crossing ? this.prefill(this.#ids) : (await this.#advance([id], 1, true))!;
  }

  async release(): Promise<void> {
    this.#cache = [];
    this.#capacity = this.#length = this.#ids.length = 0;
    this.#workspace.release();
  }

  /** Runs `ids`, padded to `time`, after what is cached. */
  async #advance(ids: readonly number[], time: number, wantLogits: boolean): Promise<Float32Array | undefined> {
    const { spec } = this.#network;
    if (this.#length + ids.length > spec.maxPositions)
      throw new FettleError(
        'INPUT_INVALID',
        `The text is longer than the ${spec.maxPositions} tokens the model was made for.`,
        'Shorten the prompt or generate less.',
      );
    const past = Math.ceil(this.#length / CACHE_STEP) * CACHE_STEP;
    if (past > this.#capacity) this.#grow(past);
    // A shorter document than the one before leaves a larger cache: its size is as good.
    const shape = { batch: 1, time, past: this.#length === 0 ? 0 : this.#capacity };
    const padded = new Int32Array(time);
    padded.set(ids);
    const { y, made } = await runCachedLayers({
      network: this.#network,
      trained: this.#trained,
      workspace: this.#workspace,
      shape,
      shared: (kind) => this.#shared(kind, shape.past, time),
      cache: this.#cache,
      x: await this.#network.embed(padded, this.#positions(time), this.#trained),
    });
    const needed = Math.ceil((this.#length + ids.length) / CACHE_STEP) * CACHE_STEP;
    if (needed > this.#capacity) this.#grow(needed);
    made.forEach((out, layer) => this.#remember(this.#cache[layer]!, out, time, ids.length));
    this.#length += ids.length;
    return wantLogits ? this.#network.logits(y, Int32Array.of(ids.length - 1), this.#trained) : undefined;
  }

  /** Of the next tokens; padding after the last position there is counts as that, and is never looked at. */
  #positions(time: number): Int32Array {
    return Int32Array.from({ length: time }, (_, i) => Math.min(this.#length + i, this.maxTokens - 1));
  }

  async #shared(kind: LayerKind, past: number, time: number): Promise<Tensors> {
    const after = kind.rotary?.long?.after ?? Infinity;
    const positions = Int32Array.from({ length: time }, (_, i) => this.#length + i);
    const tables = {
      positions: integers(positions, [1, time]),
      ...(await this.#network.tables.of(kind, past + time, [this.#ids.length > after ? 'long' : 'short'])),
    };
    if (past === 0) return tables;
    const window = windowIn(kind, past + time);
    const queries = window === undefined ? 1 : time;
    const mask = new Float32Array(queries * past).fill(MASKED);
    for (let query = 0; query < queries; query++)
      mask.fill(0, query * past + firstKey(this.#length + query, window), query * past + Math.min(past, this.#length));
    return { ...tables, mask: tensor(mask, [1, 1, queries, past]) };
  }

  #grow(capacity: number): void {
    this.#cache = grown(this.#cache, 1, this.#capacity, capacity, [this.#length], this.#network.spec);
    this.#capacity = capacity;
  }

  #remember(layer: LayerCache, made: LayerCache, time: number, count: number): void {
    for (const name of ['k', 'v'] as const)
      copyHeads(
        { of: made[name], length: time, row: 0, at: 0 },
        { of: layer[name], length: this.#capacity, row: 0, at: this.#length },
        count,
        this.#network.spec,
      );
  }
}
