/** @file What a run writes: its checkpoints to the byte where they are tensors, at the moment when most of them stand. */
import { isQuantised, type Recipe } from '../contract/recipe.ts';
import { checkpointTensorBytes } from '../engine/train/checkpoint.ts';
import { emptyCalibration } from '../engine/quantise/calibration.ts';
import { OBSERVED_ROWS, OBSERVED_TOKENS } from '../engine/quantise/observe.ts';
import { trainedOf, type ModelSize } from './memory.ts';

/** State, manifest and adapter_config.json of a checkpoint, at most. */
export const CHECKPOINT_JSON_BYTES = 4096;
/** What a step's event takes in the database. */
const STEP_BYTES = 450;

/** Steps at which a run saves if every look at the held-out rows were a new best. */
export function mostSaves({ saveEvery, evalEvery }: Recipe, steps: number): number {
  const at = new Set<number>([steps]);
  if (saveEvery > 0) for (let step = 0; step < steps; step += saveEvery) at.add(step);
  if (evalEvery > 0) for (let step = evalEvery; step < steps; step += evalEvery) at.add(step);
  return at.size;
}

/** Bytes of a checkpoint's tensors. */
export function tensorBytes(model: ModelSize, recipe: Recipe): number {
  const { precision } = recipe;
  const rounding = isQuantised(precision)
    ? {
        rows: Array.from({ length: OBSERVED_ROWS }, () => new Int32Array(OBSERVED_TOKENS)),
        peaks: precision === 'int8' ? emptyCalibration(model.spec) : new Map<string, Float32Array>(),
        largest: 127,
      }
    : undefined;
  return checkpointTensorBytes(trainedOf(model, recipe), rounding);
}

/** The best, the last and `keepCheckpoints` others stand, and beside them the one that is being written. */
export function diskBytes(model: ModelSize, recipe: Recipe, steps: number): number {
  const most = Math.min(mostSaves(recipe, steps), recipe.keepCheckpoints + 3);
  return most * (tensorBytes(model, recipe) + CHECKPOINT_JSON_BYTES) + steps * STEP_BYTES;
}
