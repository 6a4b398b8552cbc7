/** @file The job of a run: starts the training process, keeps what it reports, and writes down how it ended. */
import type { Job } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { ResultEvent, TrainEvent } from '../contract/training.ts';
import type { Core, JobControl } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import { listCheckpoints, type Checkpoint } from '../engine/train/checkpoint.ts';
import type { Models } from '../models/index.ts';
import type { TrainJob, TrainOutcome } from '../workers/train.ts';
import { checkpointsOf } from './folders.ts';
import { createPace, type History } from './history.ts';
import type { RunRow, RunTable } from './table.ts';

/** Job rows are written at most this often while steps come in. */
const UPDATE_MS = 250;

export interface TrainParts {
  readonly table: RunTable;
  readonly history: History;
  readonly models: Models;
  readonly datasets: Datasets;
  /** Throws MEMORY_SHORT where the run does not fit now. */
  readonly checkMemory: (run: RunRow) => Promise<void>;
}

/** Handles jobs of kind 'train'; their subject is the run's id. */
export function handleTraining(core: Core, parts: TrainParts): void {
  const { table, history, models, datasets } = parts;

  core.jobs.handle('train', async (control) => {
    const run = table.row(control.job.subject);
    let outcome: TrainOutcome | null = null;
    // However it ends (done, asked, crashed), the job's row is written first and the run's last words follow it.
    void core.jobs.settled(control.job.id).then((job) => tellEnd(core, parts, run, job, outcome));

    await parts.checkMemory(run);
    const folder = core.home.run(run.project, run.id);
    const last = await recoverCheckpoints(run, folder);
    const publish = (event: TrainEvent): void => void core.events.publish(`run:${run.id}`, event);
    control.update({ state: 'running', stage: 'Starting' });
    publish({ type: 'state', state: 'running', stage: last ? `Going on from step ${last.step}` : 'Starting' });
    // The steps beyond the checkpoint will be taken, and reported, again.
    history.rewind(run.id, last?.step ?? -1);
    table.setResult(run.id, null);

    const job: TrainJob = {
      run: run.id,
      folder,
      model: models.pathOf(run.model),
      modelName: run.model_name,
      rows: datasets.rowsFile(run.project, run.dataset),
      recipe: run.recipe,
      threads: core.threads,
      resume: last !== undefined,
    };
    const worker = core.workers.run<TrainEvent, TrainOutcome>('train', job, createReporter(control, publish));
    control.onAsk((ask) => worker.ask(ask));
    outcome = await worker.result.catch((error: unknown) => {
      throw asInterrupted(error);
    });
    return outcome.reason === 'paused' || outcome.reason === 'cancelled' ? outcome.reason : 'completed';
  });

  /** What lies on the disk is what a run goes on from. A checkpoint that was written in the moment of a crash was not told: it is now. */
  async function recoverCheckpoints(run: RunRow, folder: string): Promise<Checkpoint | undefined> {
    const told = new Set(history.figures(run.id).checkpoints.map((checkpoint) => checkpoint.name));
    const { checkpoints } = await listCheckpoints(checkpointsOf(folder), { deep: true });
    for (const { name, step, heldOutLoss, bytes, state } of checkpoints)
      if (!told.has(name))
        core.events.publish(`run:${run.id}`, {
          type: 'checkpoint',
          step,
          name,
          heldOutLoss,
          bytes,
          best: state.best?.step === step,
          removed: [],
        });
    return checkpoints.at(-1);
  }
}

/** A process that was killed from outside, or crashed, lost nothing but the steps since its last checkpoint. */
function asInterrupted(error: unknown): unknown {
  if (!(error instanceof FettleError) || error.code !== 'WORKER_CRASHED') return error;
  return new FettleError('INTERRUPTED', error.message, 'Resume it: it goes on from its last checkpoint.', {
    cause: error,
  });
}

/** Passes every event on, and keeps stage, progress and time left of the job's row true. */
function createReporter(control: JobControl, publish: (event: TrainEvent) => void): (event: TrainEvent) => void {
  const pace = createPace();
  let updated = 0;
  return (event) => {
    publish(event);
    if (event.type === 'state' && event.stage !== undefined) control.update({ stage: event.stage });
    if (event.type !== 'step') return;
    const secondsLeft = pace(event);
    const now = performance.now();
    if (now - updated < UPDATE_MS && event.step < event.steps) return;
    updated = now;
    control.update({ stage: 'Training', progress: Math.min(1, event.step / event.steps), secondsLeft });
  };
}

/** A run's last words: how it ended, and its result where it has ended for good. */
export function tellEnd(
  core: Core,
  { table, history }: Pick<TrainParts, 'table' | 'history'>,
  run: RunRow,
  job: Job,
  outcome: TrainOutcome | null,
): void {
  const topic = `run:${run.id}` as const;
  core.events.publish(topic, { type: 'state', state: job.state, ...(job.stage ? { stage: job.stage } : {}) });
  // A run that can go on has no result yet.
  if (job.state === 'completed' || job.state === 'failed' || job.state === 'cancelled') {
    const figures = history.figures(run.id);
    const ended = outcome && outcome.reason !== 'paused' ? outcome : null;
    const result: ResultEvent = {
      type: 'result',
      run: run.id,
      state: job.state,
      steps: figures.step,
      tokens: figures.tokens,
      tokensPerSecond: ended?.tokensPerSecond ?? figures.tokensPerSecond ?? 0,
      heldOutLoss: figures.heldOutLoss,
      heldOutLossStart: figures.heldOutLossStart,
      best: figures.best,
      checkpoint: bestCheckpoint(figures.checkpoints)?.name ?? null,
      peakMemoryBytes: ended?.peakMemoryBytes ?? figures.memoryBytes ?? 0,
      seconds: figures.seconds,
      reason: job.state === 'completed' ? (ended?.reason ?? 'stopped') : job.state,
    };
    table.setResult(run.id, result);
    core.events.publish(topic, result);
  }
  core.events.changed('run', run.id, run.project);
  core.events.changed('project', run.project, run.project);
}

/** The checkpoint that a run stands for: the best on the held-out rows, else the last. */
export function bestCheckpoint<C extends { readonly best: boolean; readonly last: boolean }>(
  checkpoints: readonly C[],
): C | undefined {
  return checkpoints.find((each) => each.best) ?? checkpoints.find((each) => each.last);
}

/** @throws CHECKPOINT_NOT_FOUND where the run has none, or none of that name. */
export function checkpointNamed<C extends { readonly name: string; readonly best: boolean; readonly last: boolean }>(
  run: string,
  checkpoints: readonly C[],
  name: string | undefined,
): C {
  const found = name === undefined ? bestCheckpoint(checkpoints) : checkpoints.find((each) => each.name === name);
  if (!found)
    throw new FettleError(
      'CHECKPOINT_NOT_FOUND',
      name === undefined
        ? `Run ${run} has saved nothing yet.`
        : `Run ${run} has no checkpoint ${JSON.stringify(name)}.`,
      checkpoints.length > 0
        ? `It has: ${checkpoints.map((each) => each.name).join(', ')}.`
        : 'Wait for its first checkpoint.',
    );
  return found;
}
