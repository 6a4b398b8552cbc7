/** @file The learning curve from losses made up: what it forecasts is true as often as it says, and the words fit the figures. */
import { describe, expect, it } from 'vitest';
import { Random } from '../engine/random.ts';
import type { RowLoss } from '../evaluation/bootstrap.ts';
import { atItsBest, curveInWords, fit, type Tried } from './learning-curve.ts';

const rows = (...sums: number[]): RowLoss[] => sums.map((sum) => ({ sum, count: 1 }));
describe('a training at its best', () => {
  it('chooses the moment for each half of the rows by the other half', () => {
    // The even rows are best at the second look, so the odd ones are read there; the odd ones at the first.
    expect(atItsBest([rows(5, 1, 5, 1), rows(2, 9, 2, 9)])).toEqual(rows(5, 9, 5, 9));
    expect(atItsBest([rows(4, 4), rows(3, 3), rows(6, 6)])).toEqual(rows(3, 3));
  });
});

describe('the line', () => {
  /** Every row falls by `slope` nats a doubling, but for its own difficulty and each training's luck. */
  const made = (slope: number, luck: number, seed: number): Tried[] => {
    const random = new Random(seed);
    const hard = Array.from({ length: 40 }, () => 2 + random.normal());
    return [250, 250, 500, 500, 1000].map((n) => {
      const own = luck * random.normal();
      return { rows: n, losses: rows(...hard.map((base) => base + slope * Math.log2(n) + own)) };
    });
  };

  it('is exact where the losses lie on a line', () => {
    const { doubling, at } = fit(made(-0.1, 0, 1));
    expect(doubling.value).toBeCloseTo(-0.1, 9);
    expect(doubling.high - doubling.low).toBeLessThan(1e-9);
    expect(at(2000).value - at(1000).value).toBeCloseTo(-0.1, 9);
    expect(at(1000).value).toBeGreaterThan(at(1000).low);
  });

  it('holds what a doubling truly does in about 95 of 100 tries', () => {
    let held = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const { low, high } = fit(made(-0.05, 0.02, seed)).doubling;
      if (low <= -0.05 && high >= -0.05) held++;
    }
    expect(held).toBeGreaterThanOrEqual(182);
    expect(held).toBeLessThanOrEqual(198);
  });

  it('takes a curve that is bent for a reason to be unsure', () => {
    const bent = [250, 250, 500, 500, 1000].map((n) => ({
      rows: n,
      losses: rows(n === 250 ? 3 : 2, n === 250 ? 3 : 2),
    }));
    expect(fit(bent).doubling.high).toBeGreaterThan(-0.2);
  });
});

describe('its words', () => {
  const about = (value: number, off: number): { value: number; low: number; high: number } => ({
    value,
    low: value - off,
    high: value + off,
  });
  const all = { tried: 1200, all: 1200, words: 'examples' };

  it('say that more helps, hardly helps, or cannot be told', () => {
    const gain = about(-0.5, 0.1);
    expect(curveInWords(about(-0.08, 0.03), gain, all)).toEqual({
      verdict: 'helps',
      sentence:
        'More of the same would help: with 2,400 examples instead of 1,200, the loss on unseen rows would fall by about 0.080 nats a token (−0.110 to −0.050), perplexity by about 8%.',
    });
    expect(curveInWords(about(-0.005, 0.01), gain, all).verdict).toBe('hardly');
    expect(curveInWords(about(-0.01, 0.005), gain, all).verdict).toBe('hardly');
    expect(curveInWords(about(0.05, 0.02), gain, all).verdict).toBe('hardly');
    expect(curveInWords(about(-0.08, 0.1), gain, all).verdict).toBe('unclear');
    expect(curveInWords(about(-0.08, 0.03), about(-0.01, 0.05), all).verdict).toBe('no-gain');
    // Of a small part nothing is said of all.
    expect(curveInWords(about(-0.08, 0.03), gain, { ...all, tried: 100 })).toEqual({
      verdict: 'unclear',
      sentence: expect.stringContaining('100 of 1,200 examples could be tried') as unknown,
    });
  });
});
