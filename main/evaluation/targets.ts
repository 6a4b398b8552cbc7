/** @file Who is asked or compared: a base model, a run by its best checkpoint, or a run at a named one. */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { ComparedModel, Model, Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Datasets } from '../datasets/index.ts';
import { ADAPTER_FILE } from '../formats/peft.ts';
import { sha256 } from '../formats/sha256.ts';
import { WHOLE_FILE } from '../formats/tuned.ts';
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

/** What a checkpoint holds: an adapter, or where all was trained, the weights. */
const weightsIn = (folder: string): string | undefined =>
  [ADAPTER_FILE, WHOLE_FILE].map((name) => join(folder, name)).find((path) => existsSync(path));

/** @throws MODEL_NOT_FOUND, CHECKPOINT_NOT_FOUND, also where files were taken away meanwhile */
export function resolveTarget(
  { models, runs }: { readonly models: Models; readonly runs: Runs },
  target: string,
): ResolvedTarget {
  const [id = '', checkpointName] = target.split('@', 2);
  if (runs.has(id)) {
    const run = runs.show(id);
    const checkpoint = checkpointNamed(run.id, run.checkpoints, checkpointName);
    const adapter = runs.checkpointFolder(run, checkpoint.name);
    const under = runs.under(run.id);
    const gone = [...under, adapter].find((folder) => weightsIn(folder) === undefined);
    if (gone !== undefined)
      throw new FettleError(
        'CHECKPOINT_NOT_FOUND',
        `The files of checkpoint ${basename(gone)} that run ${run.number} needs are gone.`,
        'Name another checkpoint of it (RUN@CHECKPOINT), or train it again.',
      );
    return {
      target,
      label: run.imported ? `Run ${run.number}, ${run.imported.name}` : `Run ${run.number}, step ${checkpoint.step}`,
      ...modelOf(models, run.model),
      run,
      checkpoint: checkpoint.name,
      adapter,
      under,
    };
  }
  const base = modelOf(models, named(models, target).id);
  return { target, label: base.model.name, ...base, run: null, checkpoint: null, adapter: null, under: [] };
}

/** What a target was trained on, with the stages that it stands on. */
export interface Learned {
  /** rows.jsonl of each version. */
  readonly files: readonly string[];
  /** All of it is known. */
  readonly known: boolean;
}

export function learnedBy(
  { run: tuned }: ResolvedTarget,
  { runs, datasets }: { readonly runs: Pick<Runs, 'show'>; readonly datasets: Pick<Datasets, 'rowsFile'> },
): Learned {
  const files: string[] = [];
  let known = true;
  for (let run = tuned; run; run = run.over && runs.show(run.over.run)) {
    if (run.dataset === null) known = false;
    else files.push(datasets.rowsFile(run.project, run.dataset));
    // It began from an adapter whose own data nobody here knows.
    if (run.recipe?.initAdapter !== undefined) known = false;
  }
  return { files, known };
}

function named(models: Models, target: string): Model {
  try {
    return models.show(target);
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

/** @throws MODEL_NOT_FOUND also where its files were taken away */
function modelOf(models: Models, id: string): { readonly model: Model; readonly modelPath: string } {
  const model = models.show(id);
  const modelPath = models.pathOf(id);
  if (existsSync(modelPath)) return { model, modelPath };
  throw new FettleError(
    'MODEL_NOT_FOUND',
    `The files of ${model.name} are gone.`,
    'Add the model again: `fettle model add`.',
  );
}

const hashesOf = (folders: readonly string[]): Promise<string[]> =>
  Promise.all(folders.flatMap((folder) => weightsIn(folder) ?? []).map((file) => sha256(file)));

/** By what its weights, and those of the stages under it, are known again, whatever it is called by then. */
export const weightsOf = async ({
  adapter,
  under,
}: Pick<ResolvedTarget, 'adapter' | 'under'>): Promise<Pick<ComparedModel, 'adapter' | 'under'>> => ({
  adapter: (await hashesOf(adapter === null ? [] : [adapter]))[0] ?? null,
  under: await hashesOf(under),
});

type Kept = NonNullable<ComparedModel['run']>;

/** What is kept of a target with what was measured: it may be gone when that is looked at. */
export async function compared(
  { label, target, model, run, checkpoint, adapter, under }: ResolvedTarget,
  trainRows: number | null,
): Promise<ComparedModel> {
  const at = run?.checkpoints.find(({ name }) => name === checkpoint);
  return {
    target,
    label,
    model: { id: model.id, name: model.name, hash: model.hash },
    ...(await weightsOf({ adapter, under })),
    run:
      // Of an adapter that was made elsewhere nothing is known that a verdict could rest on.
      run === null || !at || run.recipe === null || run.strategy === null
        ? null
        : {
            id: run.id,
            number: run.number,
            strategy: run.over ? 'staged' : run.strategy,
            checkpoint: at.name,
            step: at.step,
            steps: run.step,
            planned: run.steps,
            best: run.best,
            lastLoss: run.heldOutLoss,
            trainRows,
            recipe: recipeOf(run.recipe),
            advised: run.advice?.strategy ?? null,
            overruled: run.choice?.overruled ?? false,
          },
  };
}

const recipeOf = ({
  epochs,
  maxSteps,
  learningRate,
  rank,
  rehearsal,
  seed,
}: NonNullable<Run['recipe']>): Kept['recipe'] => ({
  epochs,
  learningRate,
  rank,
  rehearsal,
  seed,
  ...(maxSteps === undefined ? {} : { maxSteps }),
});
