/** @file What counts as proven: nothing asked proves nothing, and a tie between two tokens is no difference. */
import { describe, expect, it } from 'vitest';
import { compareAnswers, LOGIT_TOLERANCE, type Replay } from './proof.ts';

const likelihood = { rows: 1, tokens: 10, loss: 2 };
const replayOf = (...logits: number[][]): Replay => ({
  ids: logits.map((each) => each.indexOf(Math.max(...each))),
  logits: logits.map((each) => Float32Array.from(each)),
});
const verdict = (run: Replay[], files: Replay[], dtype: 'f32' | 'f16' = 'f32'): string =>
  compareAnswers({ replays: run, likelihood }, { replays: files, likelihood }, dtype).verdict;

describe('the proof', () => {
  it('is never equal where no prompt was asked', () => {
    expect(verdict([], [])).toBe('different');
    expect(verdict([], [], 'f16')).toBe('within');
  });

  it('takes a tie for no difference in 32 bits', () => {
    const [near, far] = [LOGIT_TOLERANCE / 2, 4 * LOGIT_TOLERANCE];
    const run = [replayOf([0, 2, 1], [1, 1 + near, 0])];
    expect(verdict(run, run)).toBe('equal');
    expect(verdict(run, [replayOf([0, 2, 1], [1 + near, 1, 0])])).toBe('within');
    // One token was clearly the better.
    const clear = [replayOf([0, 2, 1], [1, 1 + far, 0])];
    expect(verdict(clear, [replayOf([0, 2, 1], [1 + far, 1, 0])])).toBe('different');
    // A tie, but another logit is not the run's.
    expect(verdict(run, [replayOf([0, 2, 1], [1 + near, 1, far])])).toBe('different');
  });
});
