/** @file What a curve would show wrongly: points told twice after a resume, a best point that is none, removed checkpoints. */
import { describe, expect, it } from 'vitest';
import type { TrainEvent } from '../../main/contract/training.ts';
import { RunSeries, smooth } from './run-series.ts';

const step = (at: number, loss = 1 / at): TrainEvent => ({
  type: 'step',
  step: at,
  steps: 100,
  epoch: at / 10,
  loss,
  learningRate: 1e-3,
  gradNorm: 1,
  tokens: at * 50,
  labelledTokens: at * 20,
  tokensPerSecond: 100,
  memoryBytes: 1e9,
  seconds: at * 2,
});
const evaluation = (at: number, loss: number, best: boolean): TrainEvent => ({
  type: 'eval',
  step: at,
  loss,
  perplexity: Math.exp(loss),
  tokens: 10,
  best,
  seconds: at * 2,
});
const checkpoint = (at: number, best: boolean, removed: string[] = []): TrainEvent => ({
  type: 'checkpoint',
  step: at,
  name: `step-${at}`,
  heldOutLoss: null,
  best,
  bytes: 1,
  removed,
});
const tell = (...events: TrainEvent[]): RunSeries => {
  const series = new RunSeries();
  for (const event of events) series.add(event);
  return series;
};

describe('the columns of a run', () => {
  it('take the later telling of a step where a run was resumed from an earlier checkpoint', () => {
    const series = tell(
      ...[1, 2, 3, 4].map((at) => step(at)),
      evaluation(2, 0.5, true),
      evaluation(4, 0.4, true),
      checkpoint(2, true),
      { type: 'state', state: 'interrupted' },
      step(3, 9),
    );
    expect(series.columns.step).toEqual([1, 2, 3]);
    expect(series.columns.loss.at(-1)).toBe(9);
    expect(series.evals.map((each) => each.step)).toEqual([2]);
    expect(series.checkpoints.map(({ name }) => name)).toEqual(['step-2']);
  });
  it('keep one best point, the newest', () => {
    const series = tell(evaluation(0, 2, true), evaluation(10, 1, true), evaluation(20, 1.5, false));
    expect(series.best?.step).toBe(10);
    expect(series.evals.filter((each) => each.best)).toHaveLength(1);
  });
  it('forget checkpoints that the keeping rule removed', () => {
    const series = tell(checkpoint(10, true), checkpoint(20, false), checkpoint(30, true, ['step-10']));
    expect(series.checkpoints.map(({ name, best }) => [name, best])).toEqual([
      ['step-20', false],
      ['step-30', true],
    ]);
  });
  it('place a look at unseen rows on the axis of tokens, and before the first step at zero', () => {
    const series = tell(step(1), step(2), step(4));
    expect(series.place(0, 'tokens')).toBe(0);
    expect(series.place(3, 'tokens')).toBe(100);
    expect(series.place(4, 'seconds')).toBe(8);
    expect(series.place(3, 'step')).toBe(3);
  });
  it('drop the result of a run that goes on', () => {
    const result: TrainEvent = {
      type: 'result',
      run: 'a-1',
      state: 'completed',
      steps: 2,
      tokens: 100,
      tokensPerSecond: 1,
      heldOutLoss: null,
      heldOutLossStart: null,
      best: null,
      checkpoint: null,
      peakMemoryBytes: 1,
      seconds: 4,
      reason: 'finished',
    };
    expect(tell(step(1), step(2), result).result?.steps).toBe(2);
    expect(tell(step(1), step(2), result, step(3)).result).toBeUndefined();
  });
});

describe('smoothing', () => {
  it('leaves a flat curve flat from its first point on', () => {
    for (const value of smooth([3, 3, 3, 3], 0.9)) expect(value).toBeCloseTo(3, 12);
  });
  it('of nothing is nothing', () => {
    expect(smooth([], 0.9)).toEqual([]);
    expect(smooth([1, 5, 2], 0)).toEqual([1, 5, 2]);
  });
});
