/** @file The job of a run: starts the training process, keeps what it reports, and writes down how it ended. */
import { mkdir } from 'node:fs/promises';
import type { Job } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { ResultEvent, TrainEvent } from '../contract/training.ts';
import type { Core, JobControl } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import { DEVICE_HINT } from '../engine/segments/session.ts';
import { listCheckpoints, type Checkpoint } from '../engine/train/checkpoint.ts';
import { sweepTemporary } from '../engine/train/durable.ts';
import type { Models } from '../models/index.ts';
import type { Chosen } from '../recipes/devices.ts';
import type { TrainJob, TrainOutcome } from '../workers/train.ts';
import { checkpointsOf } from './folders.ts';
import { createPace, type History } from './history.ts';
import { trained, type RunRow, type RunTable, type TrainedRow } from './table.ts';

/** Job rows are written at most this often while steps come in. */
const UPDATE_MS = 250;

export interface TrainParts {
  readonly table: RunTable;
  readonly history: History;
  readonly models: Models;
  readonly datasets: Datasets;
  /** Folders of the adapters that a run stands on, first stage to last. */
  readonly under: (run: RunRow) => string[];
  /** Throws MEMORY_SHORT where the run does not fit now. */
  readonly checkMemory: (run: TrainedRow) => Promise<void>;
  /** Throws DEVICE_MISSING, RECIPE_INVALID. */
  readonly deviceFor: (run: TrainedRow) => Promise<Chosen>;
}

export interface Training {
  /** Puts a run into the queue; however that ends, before it began too, its last words follow the job's row. */
  enqueue(run: RunRow, title: string): void;
}

/** Handles jobs of kind 'train'; their subject is the run's id. */
export function handleTraining(core: Core, parts: TrainParts): Training {
  const { table, history, models, datasets } = parts;
  /** What the process of a run said at its end. */
  const outcomes = new Map<string, TrainOutcome>();

  core.jobs.handle('train', async (control) => {
    const run = trained(table.row(control.job.subject));
    outcomes.delete(run.id);
    standOn(run);
    await parts.checkMemory(run);
    const folder = core.home.run(run.project, run.id);
    const last = await recoverCheckpoints(run, folder);
    const publish = (event: TrainEvent): void => void core.events.publish(`run:${run.id}`, event);
    control.update({ state: 'running', stage: 'Starting' });
    publish({ type: 'state', state: 'running', stage: last ? `Going on from step ${last.step}` : 'Starting' });
    // The steps beyond the checkpoint will be taken, and reported, again.
    history.rewind(run.id, last?.step ?? -1);
    const continued = run.result !== null;
    table.setResult(run.id, null);

    const chosen = await parts.deviceFor(run);
    const { tokens, ...told } = chosen;
    publish({ type: 'device', ...told });
    publish({ type: 'state', state: 'running', stage: chosen.why });

    const job: TrainJob = {
      run: run.id,
      folder,
      model: models.pathOf(run.model),
      modelName: run.model_name,
      under: parts.under(table.row(run.id)),
      held: table.over(run.id).flatMap(({ over_checkpoint }) => over_checkpoint ?? []),
      rows: datasets.rowsFile(run.project, run.dataset),
      recipe: run.recipe,
      device: chosen.device,
      deviceTokens: tokens,
      threads: core.threads,
      resume: last !== undefined,
      continued,
    };
    const worker = core.workers.run<TrainEvent, TrainOutcome>('train', job, createReporter(control, publish));
    control.onAsk((ask) => worker.ask(ask));
    const outcome = await worker.result.catch((error: unknown) => {
      throw chosen.device === 'webgpu' ? asDeviceFailed(error) : asInterrupted(error);
    });
    outcomes.set(run.id, outcome);
    return outcome.reason === 'paused' || outcome.reason === 'cancelled' ? outcome.reason : 'completed';
  });

  return {
    enqueue(run, title) {
      const { id } = core.jobs.enqueue({ kind: 'train', project: run.project, subject: run.id, title });
      core.jobs
        .settled(id)
        .then((job) => tellEnd(core, parts, run, job, outcomes.get(run.id) ?? null))
        .catch((error: unknown) =>
          core.log.error('the end of a run could not be kept', { run: run.id, error: String(error) }),
        )
        .finally(() => outcomes.delete(run.id));
    },
  };

  /** A run over another begins when that one is done, and from then on stands on its best checkpoint. */
  function standOn(run: RunRow): void {
    if (run.over_run === null || run.over_checkpoint !== null) return;
    const first = table.view(table.row(run.over_run));
    const best = bestCheckpoint(first.checkpoints);
    if (first.state !== 'completed' || !best)
      throw new FettleError(
        'RUN_STATE',
        `Run ${first.id}, the stage before, is ${first.state}.`,
        `Finish it first (fettle run resume ${first.id}), then resume this one.`,
      );
    table.setOver(run.id, best.name);
  }

  /**
   * What lies on the disk is what a run goes on from. A checkpoint that was written in the moment of a crash was not
   * told: it is now; and one that was told and is damaged or gone is taken back.
   * @throws CHECKPOINT_INVALID where all are damaged; then nothing that was reported is forgotten.
   */
  async function recoverCheckpoints(run: RunRow, folder: string): Promise<Checkpoint | undefined> {
    const known = history.figures(run.id).checkpoints;
    const told = new Set(known.map((checkpoint) => checkpoint.name));
    await mkdir(checkpointsOf(folder), { recursive: true });
    await sweepTemporary(checkpointsOf(folder));
    const { checkpoints, damaged } = await listCheckpoints(checkpointsOf(folder), { deep: true });
    if (checkpoints.length === 0 && damaged[0])
      throw new FettleError(
        'CHECKPOINT_INVALID',
        `Every checkpoint of run ${run.id} is damaged: ${damaged[0].error.message}`,
        'Start a new run; `fettle run clone` takes the same settings.',
        { cause: damaged[0].error },
      );
    const removed = known.map(({ name }) => name).filter((name) => !checkpoints.some((each) => each.name === name));
    const last = checkpoints.at(-1);
    if (removed.length > 0 && last && told.has(last.name)) publishCheckpoint(run, last, removed);
    for (const each of checkpoints) if (!told.has(each.name)) publishCheckpoint(run, each, removed);
    return last;
  }

  function publishCheckpoint(run: RunRow, checkpoint: Checkpoint, removed: string[]): void {
    const { name, step, heldOutLoss, bytes, state } = checkpoint;
    core.events.publish(`run:${run.id}`, {
      type: 'checkpoint',
      step,
      name,
      heldOutLoss,
      bytes,
      best: state.best?.step === step,
      removed,
    });
  }
}

/** A process that was killed from outside, or crashed, lost nothing but the steps since its last checkpoint. */
function asInterrupted(error: unknown): unknown {
  if (!(error instanceof FettleError) || !['WORKER_CRASHED', 'WORKER_TIMEOUT'].includes(error.code)) return error;
  return new FettleError('INTERRUPTED', error.message, 'Resume it: it goes on from its last checkpoint.', {
    cause: error,
  });
}

/** A driver that fails may take the process with it; the steps since the last checkpoint would fail again. */
function asDeviceFailed(error: unknown): unknown {
  const crashed = error instanceof FettleError && error.code === 'WORKER_CRASHED';
  // Killed from outside, it did not fail.
  if (!crashed || error.details?.['signal'] === 'SIGKILL') return asInterrupted(error);
  return new FettleError('DEVICE_FAILED', 'The graphics processor or its driver ended the training.', DEVICE_HINT, {
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

/** `best`, which is meant where nothing is named, and `last` are names too. @throws CHECKPOINT_NOT_FOUND where the run has none, or none of that name. */
export function checkpointNamed<C extends { readonly name: string; readonly best: boolean; readonly last: boolean }>(
  run: string,
  checkpoints: readonly C[],
  name: string | undefined,
): C {
  const found =
    name === undefined || name === 'best'
      ? bestCheckpoint(checkpoints)
      : checkpoints.find((each) => (name === 'last' ? each.last : each.name === name));
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
