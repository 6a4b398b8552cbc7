/** @file A curve that is called well when it is not, or done when it is not. */
import { describe, expect, it } from 'vitest';
import { RunSeries } from '../../state/run-series.ts';
import { healthOf } from './advice.ts';

const measured = (losses: readonly number[]): RunSeries => {
  const series = new RunSeries();
  let best = Infinity;
  losses.forEach((loss, i) => {
    series.add({
      type: 'eval',
      step: i * 10,
      loss,
      perplexity: Math.exp(loss),
      tokens: 1,
      best: loss < best,
      seconds: i,
    });
    best = Math.min(best, loss);
  });
  return series;
};

describe('what a curve says', () => {
  it('says nothing after one look', () => {
    expect(healthOf(measured([2]), 3)).toBeNull();
  });
  it('says that it learns while unseen loss falls, also after one look without gain', () => {
    expect(healthOf(measured([2, 1.5, 1.2]), 3)?.title).toBe('Learning well');
    expect(healthOf(measured([2, 1.5, 1.6]), 3)?.look).toBe(false);
  });
  it('says where the lowest point was once it rests, and when it will stop', () => {
    const health = healthOf(measured([2, 1.2, 1.3, 1.4]), 3);
    expect(health?.text).toContain('step 10');
    expect(health?.text).toContain('After 3 looks');
    expect(healthOf(measured([2, 1.2, 1.3, 1.4]), 0)?.text).not.toContain('looks');
  });
  it('says that it does not learn where nothing is below the start', () => {
    expect(healthOf(measured([2, 2.1, 2.4]), 3)?.title).toBe('Not learning yet');
  });
});
