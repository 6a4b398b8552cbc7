/** @file Votes: the same figures as scipy, and an estimate that does what it says. */
import { describe, expect, it } from 'vitest';
import { countVotes, exactInterval, signTest } from './votes.ts';

/** scipy 1.17.1: binomtest(hits, n).pvalue and .proportion_ci(0.95, 'exact'). Tolerance: 1e-9. */
const SCIPY: readonly (readonly [hits: number, n: number, p: number, low: number, high: number])[] = [
  [18, 28, 0.1849333420395851, 0.4406503127462668, 0.8135933399995547],
  [33, 49, 0.021294114141387155, 0.5245992945096074, 0.800514661953899],
  [5, 5, 0.0625, 0.47817624989501856, 1],
  [6, 6, 0.03125, 0.5407418735600995, 1],
  [10, 20, 1, 0.27195784956079133, 0.7280421504392086],
  [0, 7, 0.015625, 0, 0.4096163972250487],
  [501, 1000, 0.9747749818216395, 0.46954628333828713, 0.5324478137462618],
  [560, 1000, 0.00016504987055045286, 0.5285954324774587, 0.5910503396496162],
  [1, 1, 1, 0.025000000000000022, 1],
];

describe('votes', () => {
  it.each(SCIPY)('%i of %i are as scipy says', (hits, n, p, low, high) => {
    expect(signTest(hits, n)).toBeCloseTo(p, 9);
    const found = exactInterval(hits, n);
    expect(found.low).toBeCloseTo(low, 9);
    expect(found.high).toBeCloseTo(high, 9);
  });

  it('are settled exactly where the margin leaves one half out', () => {
    for (let n = 1; n <= 60; n++)
      for (let hits = Math.ceil(n / 2); hits <= n; hits++)
        expect(countVotes(hits, n - hits, 0).settled).toBe(exactInterval(hits, n).low > 0.5);
  });

  it('do not say who leads, and leave ties out', () => {
    expect(countVotes(10, 18, 2)).toEqual(countVotes(18, 10, 2));
    expect(countVotes(18, 10, 2)).toMatchObject({ votes: 30, ties: 2, leads: 18, trails: 10, settled: false });
    expect(countVotes(0, 0, 3)).toMatchObject({ votes: 3, share: null, settled: false, more: null, p: 1 });
  });

  it('tell how many more at this share settle it: so many do, one fewer does not', () => {
    const { share, more } = countVotes(18, 10, 0);
    const after = (n: number): boolean => signTest(Math.round(share!.value * n), n) < 0.05;
    expect([after(28 + more!), after(28 + more! - 1)]).toEqual([true, false]);
    expect(countVotes(10, 10, 0).more).toBeNull();
    expect(countVotes(33, 16, 3)).toMatchObject({ settled: true, more: null });
  });
});
