/** @file What pilots and learning curves have in common: a request, a job that trains for a while and keeps no model, a result. The only writer of their tables. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FettleError } from '../contract/errors.ts';
import type { Dataset, Model, Trial } from '../contract/entities.ts';
import { strategyOf } from '../contract/trains.ts';
import type { Core } from '../core/context.ts';
import { availableMemory } from '../core/memory.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import { freeBytes } from '../formats/disk.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { measureRows, planRecipe } from '../recipes/index.ts';
import type { LessonJob, TrialEvent, TrialJob } from '../workers/trial.ts';

export interface Features {
  readonly projects: Projects;
  readonly models: Models;
  readonly datasets: Datasets;
}
interface Row {
  readonly id: string;
  readonly project: string;
  readonly model: string;
  readonly request: string;
  readonly result: string | null;
  readonly created_at: string;
}
interface TrialKind<Request, Job extends TrialJob> {
  /** Names the table, the job, the event and the child process. */
  readonly kind: 'pilot' | 'curve';
  readonly words: string;
  readonly title: (modelName: string) => string;
  readonly describe: (request: Request, project: string, model: string, common: TrialJob) => Promise<Job>;
}
export interface Trials<Request> {
  start(project: string, model: string | undefined, request: Request): string;
  show(id: string): TrialView;
  list(project: string): TrialView[];
}
/** As contract's entities have it; the result is checked by who knows its form. */
type TrialView = Trial & { readonly result: unknown };

/** What all trainings of a trial share, so that only what is tried differs; small steps, since there are few of them. */
const SAME = {
  rank: 16,
  alpha: 32,
  batchSize: 1,
  gradientAccumulation: 1,
  evalEvery: 0,
  saveEvery: 0,
  earlyStopping: 0,
  keepCheckpoints: 0,
  rehearsal: 0,
  // What is tried shares one base, which is measured and answers too.
  precision: 'fp32',
};
/** Tokens of a row: what is read of long ones is the same for all, and no more than the model was made for. */
const lengthFor = ({ contextLength }: Model): number => Math.min(512, contextLength);

export function createTrials<
  Request extends { readonly minutes: number; readonly tokens: number | null },
  Job extends TrialJob,
>(
  core: Core,
  { projects, models }: Features,
  { kind, words, title, describe }: TrialKind<Request, Job>,
): Trials<Request> {
  const { db } = core;
  const one = db.prepare<[string], Row>(`SELECT * FROM ${kind} WHERE id = ?`);
  const all = db.prepare<[string], Row>(`SELECT * FROM ${kind} WHERE project = ? ORDER BY rowid DESC`);
  const nextNumber = db.prepare<[{ prefix: string; project: string }], { n: number }>(
    `SELECT 1 + coalesce(max(CAST(substr(id, length(:prefix) + 1) AS INTEGER)), 0) AS n FROM ${kind} WHERE project = :project`,
  );

  const view = (row: Row): TrialView => {
    const job = core.jobs.of(kind, row.id);
    return {
      id: row.id,
      project: row.project,
      model: row.model,
      state: row.result !== null ? 'completed' : (job?.state ?? 'interrupted'),
      error: job?.error ?? null,
      createdAt: row.created_at,
      result: row.result === null ? null : JSON.parse(row.result),
    };
  };
  const rowOf = (id: string): Row => {
    const row = one.get(id);
    if (!row) throw new FettleError('INPUT_INVALID', `There is no ${words} named ${JSON.stringify(id)}.`, 'Start one.');
    return row;
  };

  core.jobs.handle(kind, async (control) => {
    const { id, project, model, request } = rowOf(control.job.subject);
    const folder = join(core.home.temporary, id);
    const asked = JSON.parse(request) as Request;
    let cancelled = false;
    void core.jobs.settled(control.job.id).then(() => core.events.changed(kind, id, project));
    try {
      control.update({ state: 'running', stage: 'Preparing' });
      const job = await describe(asked, project, model, {
        model: models.pathOf(model),
        modelName: models.show(model).name,
        minutes: asked.minutes,
        tokens: asked.tokens,
        maxLength: lengthFor(models.show(model)),
        folder,
        threads: core.threads,
      });
      const worker = core.workers.run<TrialEvent, unknown>(kind, job, ({ stage, share }) =>
        control.update({ stage, progress: Math.min(1, share) }),
      );
      control.onAsk(() => {
        cancelled = true;
        worker.ask('cancel');
      });
      db.prepare(`UPDATE ${kind} SET result = ? WHERE id = ?`).run(JSON.stringify(await worker.result), id);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  return {
    start(project, named, request) {
      const model = named ?? projects.show(project).model;
      if (!model)
        throw new FettleError('INPUT_INVALID', 'No model is chosen yet.', 'Choose one, or name it with --model.');
      const { name } = models.show(model);
      const prefix = `${project}-${kind}-`;
      const id = `${prefix}${nextNumber.get({ prefix, project })?.n ?? 1}`;
      db.prepare(`INSERT INTO ${kind} (id, project, model, request, created_at) VALUES (?, ?, ?, ?, ?)`).run(
        id,
        project,
        model,
        JSON.stringify(request),
        core.clock.now(),
      );
      core.jobs.enqueue({ kind, project, subject: id, title: title(name) });
      core.events.changed(kind, id, project);
      return id;
    },
    show: (id) => view(rowOf(id)),
    list: (project) => (projects.show(project), all.all(project).map(view)),
  };
}

/** A dataset as a trial learns from it: by the recommended recipe, but for what all share. @throws INPUT_INVALID for preferences */
export async function lessonOf(
  core: Core,
  { models, datasets }: Features,
  model: string,
  dataset: Dataset,
): Promise<LessonJob> {
  const strategy = strategyOf(dataset);
  const base = models.show(model);
  const rows = datasets.rowsFile(dataset.project, dataset.id);
  const machine = {
    threads: core.threads,
    freeMemoryBytes: availableMemory(),
    freeDiskBytes: await freeBytes(core.home.root),
    tokensPerSecond: () => null,
  };
  const data = await measureRows(readRows(rows), dataset.rows);
  const context = {
    strategy,
    model: { ...base, spec: await models.spec(model) },
    data,
    threads: core.threads,
    speeds: null,
  };
  return { rows, recipe: planRecipe(context, machine, { ...SAME, maxLength: lengthFor(base), strategy }).recipe };
}
