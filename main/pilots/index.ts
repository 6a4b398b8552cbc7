/** @file Pilots: the ways of tuning that the data allow, tried on a slice, so that the advice is measured as well as reasoned. The only writer of table pilot. */
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ParsedInputOf } from '../contract/api.ts';
import { Pilot, type Dataset } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Recipe, Strategy } from '../contract/recipe.ts';
import { trainsBy } from '../contract/trains.ts';
import type { Core } from '../core/context.ts';
import { availableMemory } from '../core/memory.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { measureRows, planRecipe } from '../recipes/index.ts';
import type { PilotEvent, PilotJob, PilotResult } from '../workers/pilot.ts';

interface Row {
  readonly id: string;
  readonly project: string;
  readonly model: string;
  readonly request: string;
  readonly result: string | null;
  readonly created_at: string;
}
interface Request {
  readonly minutes: number;
  readonly tokens: number | null;
}

/** Packaged apps set FETTLE_RESOURCES; in the repository it lies at the top. */
const general = (): string =>
  join(process.env.FETTLE_RESOURCES ?? fileURLToPath(new URL('../../resources', import.meta.url)), 'general');

/** What all ways share, so that only the way differs; small steps, since there are few of them. */
const SAME = {
  rank: 16,
  alpha: 32,
  batchSize: 2,
  gradientAccumulation: 1,
  maxLength: 512,
  evalEvery: 0,
  saveEvery: 0,
  earlyStopping: 0,
  keepCheckpoints: 0,
  rehearsal: 0,
};

export function createPilots(
  core: Core,
  { projects, models, datasets }: { readonly projects: Projects; readonly models: Models; readonly datasets: Datasets },
): { readonly handlers: Handlers<'pilots.start' | 'pilots.list' | 'pilots.show'> } {
  const { db } = core;
  const one = db.prepare<[string], Row>('SELECT * FROM pilot WHERE id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM pilot WHERE project = ? ORDER BY rowid DESC');
  const nextNumber = db.prepare<[{ prefix: string; project: string }], { n: number }>(
    `SELECT 1 + coalesce(max(CAST(substr(id, length(:prefix) + 1) AS INTEGER)), 0) AS n FROM pilot WHERE project = :project`,
  );

  const view = (row: Row): Pilot => {
    const job = core.jobs.of('pilot', row.id);
    return Pilot.parse({
      id: row.id,
      project: row.project,
      model: row.model,
      state: row.result !== null ? 'completed' : (job?.state ?? 'interrupted'),
      error: job?.error ?? null,
      createdAt: row.created_at,
      result: row.result === null ? null : JSON.parse(row.result),
    });
  };
  const show = (id: string): Pilot => {
    const row = one.get(id);
    if (!row) throw new FettleError('INPUT_INVALID', `There is no pilot named ${JSON.stringify(id)}.`, 'Start one.');
    return view(row);
  };
  const newest = (project: string, strategy: Strategy): Dataset | undefined =>
    datasets.list(project).find((dataset) => trainsBy(dataset.kind) === strategy);

  function start({ project, model: named, minutes, tokens }: ParsedInputOf<'pilots.start'>): Pilot {
    const id = named ?? projects.show(project).model;
    if (!id) throw new FettleError('INPUT_INVALID', 'No model is chosen yet.', 'Choose one, or name it with --model.');
    const model = models.show(id);
    const pairs = newest(project, 'instruct');
    if (!pairs && !newest(project, 'non-instruct'))
      throw new FettleError('DATA_EMPTY', 'There is nothing to try yet.', 'Bring examples or text first.');
    const prefix = `${project}-pilot-`;
    const pilot = `${prefix}${nextNumber.get({ prefix, project })?.n ?? 1}`;
    const request: Request = { minutes, tokens: tokens ?? null };
    db.prepare('INSERT INTO pilot (id, project, model, request, created_at) VALUES (?, ?, ?, ?, ?)').run(
      pilot,
      project,
      id,
      JSON.stringify(request),
      core.clock.now(),
    );
    core.jobs.enqueue({ kind: 'pilot', project, subject: pilot, title: `Trying the ways on ${model.name}` });
    core.events.changed('pilot', pilot, project);
    return show(pilot);
  }

  async function armOf(project: string, model: string, strategy: Strategy): Promise<PilotJob['pairs']> {
    const dataset = newest(project, strategy);
    if (!dataset) return null;
    const rows = datasets.rowsFile(project, dataset.id);
    const disk = await statfs(core.home.root);
    const machine = {
      freeMemoryBytes: availableMemory(),
      freeDiskBytes: disk.bavail * disk.bsize,
      tokensPerSecond: null,
    };
    const data = await measureRows(readRows(rows), dataset.rows);
    const recipe: Recipe = planRecipe({ strategy, model: models.show(model), data, threads: core.threads }, machine, {
      ...SAME,
      strategy,
    }).recipe;
    return { rows, recipe };
  }

  core.jobs.handle('pilot', async (control) => {
    const row = one.get(control.job.subject);
    if (!row) throw new FettleError('INPUT_INVALID', 'This pilot is gone.', 'Start another.');
    const { id, project, model } = row;
    const folder = join(core.home.temporary, `pilot-${id}`);
    const { minutes, tokens } = JSON.parse(row.request) as Request;
    let cancelled = false;
    void core.jobs.settled(control.job.id).then(() => core.events.changed('pilot', id, project));
    try {
      control.update({ state: 'running', stage: 'Preparing' });
      const job: PilotJob = {
        model: models.pathOf(model),
        modelName: models.show(model).name,
        pairs: await armOf(project, model, 'instruct'),
        prose: await armOf(project, model, 'non-instruct'),
        general: general(),
        minutes,
        tokens,
        folder,
        threads: core.threads,
      };
      const worker = core.workers.run<PilotEvent, PilotResult>('pilot', job, ({ stage, share }) =>
        control.update({ stage, progress: Math.min(1, share) }),
      );
      control.onAsk(() => {
        cancelled = true;
        worker.ask('cancel');
      });
      db.prepare('UPDATE pilot SET result = ? WHERE id = ?').run(JSON.stringify(await worker.result), id);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  return {
    handlers: {
      'pilots.start': start,
      'pilots.list': ({ project }) => (projects.show(project), all.all(project).map(view)),
      'pilots.show': ({ pilot }) => show(pilot),
    },
  };
}
