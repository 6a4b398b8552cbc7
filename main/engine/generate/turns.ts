/** @file Several answers of one model at a time: its decoders share sessions and memory, so each token waits for its turn. */
import type { Decoder } from '../types.ts';

export type Turns = <T>(work: () => Promise<T>) => Promise<T>;

/** One piece of work after the other, in the order in which they came. */
export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
}

/** At most so many pieces of work at a time, begun in the order in which they came. */
export function createLimit(most: number): Turns {
  let free = most;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

/** The decoder, each of whose calls waits for its turn. */
export const takingTurns = (decoder: Decoder, inTurn: Turns): Decoder => ({
  maxTokens: decoder.maxTokens,
  prefill: (ids) => inTurn(() => decoder.prefill(ids)),
  step: (id) => inTurn(() => decoder.step(id)),
  release: () => inTurn(() => decoder.release()),
});
