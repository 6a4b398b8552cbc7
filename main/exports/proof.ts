/** @file The proof of an export: the same prompts through the run in the app and through the exported files, token by token. */
import type { Export } from '../contract/entities.ts';
import { argmax } from '../engine/generate/sampler.ts';
import type { Decoder } from '../engine/types.ts';

/** One prompt gone on from greedily: the tokens chosen, and the logits each was chosen from. */
export interface Replay {
  readonly ids: readonly number[];
  readonly logits: readonly Float32Array[];
}

const TOKENS = 24;

export async function replay(
  model: { generator(): Decoder },
  prompts: readonly (readonly number[])[],
): Promise<Replay[]> {
  const decoder = model.generator();
  const replays: Replay[] = [];
  try {
    for (const prompt of prompts) {
      const ids: number[] = [];
      const logits: Float32Array[] = [];
      let next = await decoder.prefill(prompt);
      for (;;) {
        logits.push(next.slice());
        ids.push(argmax(next));
        if (ids.length === TOKENS) break;
        next = await decoder.step(ids.at(-1)!);
      }
      replays.push({ ids, logits });
    }
  } finally {
    await decoder.release();
  }
  return replays;
}

/** Logits are compared up to the first token that differs: after it the texts are different ones. */
export function compareReplays(expected: readonly Replay[], found: readonly Replay[]): NonNullable<Export['proof']> {
  let [compared, equal, largest] = [0, 0, 0];
  for (const [i, { ids, logits }] of expected.entries()) {
    const other = found[i]!;
    const firstApart = ids.findIndex((id, t) => id !== other.ids[t]);
    const same = firstApart === -1 ? ids.length : firstApart;
    compared += ids.length;
    equal += same;
    for (let t = 0; t < Math.min(ids.length, same + 1); t++)
      largest = Math.max(largest, largestDifference(logits[t]!, other.logits[t]!));
  }
  return {
    prompts: expected.length,
    tokensCompared: compared,
    tokensEqual: equal,
    largestLogitDifference: largest,
    verdict: equal === compared ? 'equal' : 'different',
  };
}

/** Infinite where one is not a number. */
function largestDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}
