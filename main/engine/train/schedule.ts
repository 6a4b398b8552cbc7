/** @file The learning rate of each step: warm-up, then cosine, linear or constant, as in transformers' optimization.py. */
import type { Recipe } from '../../contract/recipe.ts';

export interface ScheduleOptions {
  readonly schedule: Recipe['schedule'];
  /** The peak. */
  readonly learningRate: number;
  /** Share of all steps, 0 to 1. */
  readonly warmupRatio: number;
}

/** Steps during which the rate climbs: ceil(ratio * steps), as transformers' TrainingArguments.get_warmup_steps. */
export const warmupSteps = (ratio: number, steps: number): number => Math.ceil(ratio * steps);

/**
 * The rate that update number `step` uses, counted from 0, of `steps` in all. Formulas of
 * get_cosine_schedule_with_warmup (half a wave), get_linear_schedule_with_warmup and get_constant_schedule_with_warmup;
 * as there, the first update of a warm-up has the rate 0.
 */
export function learningRateAt(step: number, steps: number, options: ScheduleOptions): number {
  const { schedule, learningRate } = options;
  const warmup = warmupSteps(options.warmupRatio, steps);
  if (step < warmup) return learningRate * (step / Math.max(1, warmup));
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  switch (schedule) {
    case 'cosine':
      return learningRate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    case 'linear':
      return learningRate * Math.max(0, (steps - step) / Math.max(1, steps - warmup));
    case 'constant':
      return learningRate;
  }
}
