/** @file Chooses the next token from logits. Formulas and their order as in transformers' logits processors. */
import { Random } from '../random.ts';

export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keeps the likeliest tokens whose probabilities add up to this (Holtzman et al. 2020); 1 keeps all. */
  readonly topP: number;
  /** Keeps so many; 0 keeps all. */
  readonly topK: number;
  /** Divides the logits of what was there already where positive, multiplies where negative (Keskar et al. 2019); 1 changes nothing. */
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export const GREEDY: SamplingOptions = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };

/** @returns a function from logits [vocab], which it may change, and all tokens so far to the next token. */
export function createSampler(options: SamplingOptions): (logits: Float32Array, seen: readonly number[]) => number {
  const random = new Random(options.seed);
  return (logits, seen) => {
    const { temperature, topP, topK, repetitionPenalty } = options;
    if (repetitionPenalty !== 1)
      for (const id of new Set(seen))
        logits[id] = logits[id]! > 0 ? logits[id]! / repetitionPenalty : logits[id]! * repetitionPenalty;
    if (temperature === 0) return argmax(logits);
    const highest = logits[argmax(logits)]!;
    const ranked = new Ranked(logits, highest - LIKELY * temperature);
    const weight = (logit: number): number => Math.exp((logit - highest) / temperature);
    const weightAt = (rank: number): number => weight(logits[ranked.at(rank)]!);
    const kept = topK > 0 ? Math.min(topK, logits.length) : logits.length;
    let total = 0;
    if (kept === logits.length) for (const logit of logits) total += weight(logit);
    else for (let rank = 0; rank < kept; rank++) total += weightAt(rank);
    // The token with which the sum passes topP is the last that stays.
    let [sum, count] = topP < 1 ? [0, 0] : [total, kept];
    while (count < kept && (count === 0 || sum / total < topP)) sum += weightAt(count++);
    let left = random.next() * sum;
    for (let rank = 0; rank < count; rank++) {
      left -= weightAt(rank);
      if (left < 0) return ranked.at(rank);
    }
    return ranked.at(count - 1);
  };
}

/** In nats below the likeliest: of what a model is sure of, nearly every draw lies above. */
const LIKELY = 8;

/**
 * Ids by falling logit, the first of equals first. A draw wants few of them, so each is taken from a heap when it is first
 * asked for, and the unlikely ones come into it only when the others are used up: to sort a vocabulary of 50,000 takes
 * longer than a small model's step.
 */
class Ranked {
  readonly #logits: Float32Array;
  readonly #likely: number;
  readonly #heap: Int32Array;
  #size = 0;
  readonly #found: number[] = [];

  /** @param likely the logit from which on a token is. */
  constructor(logits: Float32Array, likely: number) {
    this.#logits = logits;
    this.#likely = likely;
    this.#heap = new Int32Array(logits.length);
    this.#fill(true);
  }

  /** The id that comes at `rank`, from 0. */
  at(rank: number): number {
    while (this.#found.length <= rank) {
      if (this.#size === 0) this.#fill(false);
      this.#found.push(this.#heap[0]!);
      sink(this.#heap, this.#logits, --this.#size, 0, this.#heap[this.#size]!);
    }
    return this.#found[rank]!;
  }

  #fill(likely: boolean): void {
    const [heap, logits] = [this.#heap, this.#logits];
    for (let id = 0; id < logits.length; id++) if (logits[id]! >= this.#likely === likely) heap[this.#size++] = id;
    for (let at = (this.#size >> 1) - 1; at >= 0; at--) sink(heap, logits, this.#size, at, heap[at]!);
  }
}

/** Puts an id where it belongs in a heap of `size` ids, at `at` or below. */
function sink(heap: Int32Array, logits: Float32Array, size: number, at: number, id: number): void {
  const before = (a: number, b: number): boolean => {
    const [x, y] = [logits[a]!, logits[b]!];
    return x > y || (x === y && a < b);
  };
  let place = at;
  for (let child = 2 * place + 1; child < size; child = 2 * place + 1) {
    if (child + 1 < size && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, id)) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = id;
}

/** The first of the highest. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
