/** @file Recipes: what to train with and why, from strategy, data, model and machine. Pure; the runs keep what was used. */
import type { Plan } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { saveable } from '../engine/index.ts';
import { estimate, type Machine } from './estimate.ts';
import { readOverrides } from './fields.ts';
import { guardsOf } from './guards.ts';
import { preset, type RecipeContext } from './preset.ts';
import { doubts } from './questions.ts';

export type { RecipeContext } from './preset.ts';
export type { DataSize } from './data.ts';
export type { Calibrated, Machine, Pace } from './estimate.ts';
export { measureRows, type MeasuredRows } from './data.ts';
export { wantsLongest } from './preset.ts';
export { readOverrides } from './fields.ts';

/**
 * The recommended recipe with the given values in place of recommended ones.
 * @throws RECIPE_INVALID for an unknown setting, a value out of range, or two that exclude each other.
 */
export function planRecipe(
  context: RecipeContext,
  machine: Machine,
  given: Readonly<Record<string, unknown>>,
): Pick<Plan, 'recipe' | 'reasons' | 'questions' | 'guards' | 'modules' | 'saveable' | 'estimate'> {
  const values = readOverrides(given);
  const { recipe, reasons } = preset(context, values, machine.freeMemoryBytes);
  if (context.data.prose && recipe.lossOn === 'response')
    throw new FettleError(
      'RECIPE_INVALID',
      'lossOn cannot be response for text: text has no answers.',
      'Use lossOn=all, or train on examples.',
    );
  const expected = estimate(recipe, context.model, context.data, machine);
  return {
    recipe,
    reasons,
    questions: doubts(recipe, context, expected.steps),
    guards: guardsOf(recipe, context, expected),
    modules: context.model.modules,
    saveable: [...saveable(context.model.spec).keys()],
    estimate: expected,
  };
}
