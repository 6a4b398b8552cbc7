/** @file Which learning curve speaks of a run. */
import type { LearningCurve } from './entities.ts';
import type { Way } from './recipe.ts';

/** The newest that was measured on the kind of data that the run, or its last stage, learned from; of no run, that of examples. */
export const curveFor = (
  way: Way | null,
  curves: readonly LearningCurve[],
): NonNullable<LearningCurve['result']> | null =>
  curves.find(({ result }) => result?.strategy === (way === 'non-instruct' ? 'non-instruct' : 'instruct'))?.result ??
  null;
