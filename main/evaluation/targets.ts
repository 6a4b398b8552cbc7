/** @file Who is asked or compared: a base model, a run by its best checkpoint, or a run at a named one. */
import type { Model, Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Models } from '../models/index.ts';
import type { Runs } from '../runs/index.ts';
import { checkpointNamed } from '../runs/train.ts';

export interface ResolvedTarget {
  readonly target: string;
  /** "Run 3, step 120", or the base model's name. */
  readonly label: string;
  readonly model: Model;
  readonly modelPath: string;
  readonly run: Run | null;
  readonly checkpoint: string | null;
  /** Folder of the adapter; null for the base model as it is. */
  readonly adapter: string | null;
  /** Adapters of the stages that the run stands on, first to last. */
  readonly under: readonly string[];
}

/** @throws MODEL_NOT_FOUND, CHECKPOINT_NOT_FOUND */
export function resolveTarget(
  { models, runs }: { readonly models: Models; readonly runs: Runs },
  target: string,
): ResolvedTarget {
  const [id = '', checkpointName] = target.split('@', 2);
  if (runs.has(id)) {
    const run = runs.show(id);
    const checkpoint = checkpointNamed(run.id, run.checkpoints, checkpointName);
    return {
      target,
      label: run.imported ? `Run ${run.number}, ${run.imported.name}` : `Run ${run.number}, step ${checkpoint.step}`,
      model: models.show(run.model),
      modelPath: models.pathOf(run.model),
      run,
      checkpoint: checkpoint.name,
      adapter: runs.checkpointFolder(run, checkpoint.name),
      under: runs.under(run.id),
    };
  }
  try {
    const model = models.show(target);
    return {
      target,
      label: model.name,
      model,
      modelPath: models.pathOf(target),
      run: null,
      checkpoint: null,
      adapter: null,
      under: [],
    };
  } catch (error) {
    if (error instanceof FettleError && error.code === 'MODEL_NOT_FOUND')
      throw new FettleError(
        'MODEL_NOT_FOUND',
        `There is no run or model named ${JSON.stringify(target)}.`,
        '`fettle run list PROJECT` and `fettle model list` show those there are.',
      );
    throw error;
  }
}
