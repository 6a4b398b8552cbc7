/** @file Where a run begins: afresh, or from the newest checkpoint that is whole and belongs to the same recipe and data. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { FettleError } from '../../contract/errors.ts';
import type { Recipe } from '../../contract/recipe.ts';
import type { Optimizer, ParameterSet } from '../types.ts';
import type { BatchPlan } from './batches.ts';
import { type Checkpoint, type TrainingState, listCheckpoints, loadOptimizer, loadWeights } from './checkpoint.ts';
import { removeFolder, sweepTemporary, verifyFolder } from './durable.ts';

/** A training state while the loop works on it. */
export type Progress = { -readonly [K in keyof TrainingState]: TrainingState[K] };

/** What a person may change between stopping and resuming: how long, and what is reported and kept. */
const FREE_TO_CHANGE: ReadonlySet<string> = new Set<keyof Recipe>([
  'epochs',
  'maxSteps',
  'evalEvery',
  'saveEvery',
  'earlyStopping',
  'keepCheckpoints',
  // The folder may have moved and its weights are in the checkpoint; the device is part of the environment.
  'initAdapter',
  'device',
  // The same numbers, computed once or twice.
  'activationCheckpointing',
]);

/** Settings that came later, at the value that all earlier runs had: with it their checkpoints go on as they did. */
const AS_BEFORE: Readonly<Partial<Recipe>> = {
  rehearsal: 0,
  useRslora: false,
  useDora: false,
  dropout: 0,
  modulesToSave: [],
  loraPlusRatio: 1,
  weightDecayOn: 'matrices',
};

/** SHA-256 of the settings that decide the numbers; runs that agree in it may go on from each other's checkpoints. */
export function recipeHash(recipe: Recipe): string {
  const settings = Object.entries(recipe)
    .filter(([key, value]) => !FREE_TO_CHANGE.has(key) && value !== undefined && !isAsBefore(key, value))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex');
}

/** What a checkpoint was made with that does not say: it is from before that was written down. */
const UNSAID: Readonly<Record<string, string>> = { device: 'cpu', fettle: 'an earlier one' };

const isAsBefore = (key: string, value: unknown): boolean =>
  Object.hasOwn(AS_BEFORE, key) && JSON.stringify(AS_BEFORE[key as keyof Recipe]) === JSON.stringify(value);

export interface BeginOptions {
  readonly recipe: Recipe;
  readonly runId: string;
  readonly checkpointDir: string;
  readonly resume: boolean;
  readonly continued: boolean;
  readonly environment: TrainingState['environment'];
  /** Told what a person should know, in plain sentences. */
  readonly notice: (sentence: string) => void;
}

/**
 * Begins afresh, or with `resume` from the newest checkpoint that is whole: its weights and optimiser state are loaded
 * and damaged ones newer than it removed. With `resume` and no checkpoint at all the run begins afresh too: it was
 * stopped before its first.
 * Throws CHECKPOINT_INVALID where all are damaged, RUN_STATE where they belong to another recipe or other data, or
 * where a new run finds a folder in use.
 */
export async function begin(
  options: BeginOptions,
  plan: BatchPlan,
  parameters: ParameterSet,
  optimizer: Optimizer,
): Promise<Progress> {
  const { checkpointDir, recipe, environment, notice } = options;
  await mkdir(checkpointDir, { recursive: true });
  await sweepTemporary(checkpointDir);
  const steps = plan.totalSteps(recipe);
  const hashes = { recipeHash: recipeHash(recipe), dataHash: plan.hash };
  const checkpoint = await newestWhole(options);
  if (!checkpoint)
    return {
      version: 1,
      run: options.runId,
      step: 0,
      steps,
      position: plan.position(0),
      tokens: 0,
      labelledTokens: 0,
      seconds: 0,
      stepSeconds: 0,
      peakMemoryBytes: 0,
      heldOut: null,
      heldOutStart: null,
      best: null,
      evaluationsWithoutGain: 0,
      ...hashes,
      environment,
    };
  const { state, path, name } = checkpoint;
  const other = state.recipeHash !== hashes.recipeHash ? 'another recipe' : 'other training data';
  if (state.recipeHash !== hashes.recipeHash || state.dataHash !== hashes.dataHash)
    throw new FettleError(
      'RUN_STATE',
      `The checkpoint ${name} was made with ${other}, so this run cannot go on from it.`,
      'Start a new run; with initAdapter it can begin from this one’s adapter.',
    );
  const changed = Object.keys(environment).filter((key) => {
    const before = state.environment[key] ?? UNSAID[key];
    return before !== undefined && before !== environment[key];
  });
  if (changed.length > 0)
    notice(`Going on with other ${changed.join(', ')} than before: the last digits of the results may differ.`);
  await loadWeights(path, parameters);
  await loadOptimizer(path, parameters, optimizer);
  const continued = options.continued || state.steps !== steps;
  return {
    ...state,
    steps,
    // The schedule is that of the new length, and patience starts again: a person has asked for more.
    evaluationsWithoutGain: continued ? 0 : state.evaluationsWithoutGain,
    environment,
  };
}

async function newestWhole({ checkpointDir, resume, notice }: BeginOptions): Promise<Checkpoint | null> {
  const { checkpoints, damaged } = await listCheckpoints(checkpointDir);
  if (!resume && checkpoints.length + damaged.length > 0)
    throw new FettleError(
      'RUN_STATE',
      `The folder ${checkpointDir} already holds checkpoints.`,
      'Resume that run, or start a new one.',
    );
  let found: Checkpoint | undefined;
  while (!found && checkpoints.length > 0) {
    const candidate = checkpoints.pop()!;
    try {
      await verifyFolder(candidate.path, true);
      found = candidate;
    } catch (error) {
      if (!(error instanceof FettleError)) throw error;
      damaged.push({ name: candidate.name, error });
    }
  }
  if (!found && damaged.length > 0) throw damaged.at(-1)!.error;
  for (const { name } of damaged) {
    notice(`The checkpoint ${name} is damaged and was removed; going on from ${found!.name}.`);
    await removeFolder(checkpointDir, name);
  }
  return found ?? null;
}
