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
    const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
    const kept = topK > 0 ? order.slice(0, topK) : order;
    const highest = logits[kept[0]!]!;
    const weights = kept.map((id) => Math.exp((logits[id]! - highest) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    // The token with which the sum passes topP is the last that stays.
    let [sum, count] = [0, 0];
    while (count < weights.length && (count === 0 || sum / total < topP)) sum += weights[count++]!;
    let left = random.next() * sum;
    for (let i = 0; i < count; i++) {
      left -= weights[i]!;
      if (left < 0) return kept[i]!;
    }
    return kept[count - 1]!;
  };
}

/** The first of the highest. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
