/** @file Adapters that were made elsewhere, brought in as runs: a job looks at one in a process of its own, and keeps it as the run's one checkpoint. */
import { mkdirSync, renameSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Job } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core, JobControl } from '../core/context.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { AdapterEvent, AdapterFound, AdapterJob } from '../workers/adapter.ts';
import { checkpointsOf } from './folders.ts';
import type { RunName, RunTable } from './table.ts';

/** Its checkpoint's name. */
const IMPORTED = 'imported';

type Request = ParsedInputOf<'runs.import'>;
type Waiting = Request & { readonly as: RunName; readonly job: Job };

export function createImports(
  core: Core,
  { table, models, projects }: { readonly table: RunTable; readonly models: Models; readonly projects: Projects },
): { start(request: Request): Promise<Job> } {
  /** What those that wait or work are to do, by the run that comes of them; one that is found without it was interrupted. */
  const requests = new Map<string, Waiting>();
  const coming = (): Waiting[] => {
    // One that was cancelled before it began is not coming any more.
    for (const [run, { job }] of requests) if (core.jobs.show(job.id).finishedAt !== null) requests.delete(run);
    return [...requests.values()];
  };
  core.inUse.add(() => coming().map(({ job, model }) => ({ title: job.title, reads: [`model:${model}`] })));

  /** @throws PROJECT_NOT_FOUND, MODEL_NOT_FOUND, INPUT_INVALID, FILE_NOT_FOUND */
  async function start(request: Request): Promise<Job> {
    const { project, path } = request;
    if (!isAbsolute(path))
      throw new FettleError('INPUT_INVALID', `${path} is not a whole path.`, 'Give the folder by its whole path.');
    const is = await stat(path).catch(() => null);
    if (!is?.isDirectory())
      throw new FettleError(
        'FILE_NOT_FOUND',
        is ? `${path} is a file.` : `There is no folder ${path}.`,
        'Give the folder of a PEFT adapter, with adapter_config.json and adapter_model.safetensors in it.',
      );
    projects.show(project);
    models.show(request.model);
    const as = table.next(project);
    const title = `Bringing in ${nameOf(request)}`;
    const job = core.jobs.enqueue({ kind: 'adapter', project, subject: as.id, title });
    requests.set(as.id, { ...request, as, job });
    return job;
  }

  core.jobs.handle('adapter', async (control) => {
    const request = requests.get(control.job.subject);
    if (!request)
      throw new FettleError(
        'INTERRUPTED',
        'Fettle was closed before the adapter was brought in.',
        'Bring it in again.',
      );
    const temporary = join(core.home.temporary, `adapter-${crypto.randomUUID()}`);
    try {
      return await bring(control, request, temporary);
    } finally {
      requests.delete(request.as.id);
      await rm(temporary, { recursive: true, force: true });
    }
  });

  /** @throws FORMAT_INVALID, MODEL_UNSUPPORTED, MODEL_INCOMPLETE, DISK_FULL */
  async function bring(control: JobControl, request: Waiting, temporary: string): Promise<'completed' | 'cancelled'> {
    const { project, path, as } = request;
    const model = models.show(request.model);
    control.update({ state: 'running', stage: 'Reading the adapter' });
    const job: AdapterJob = { from: path, model: models.pathOf(model.id), modelName: model.name, to: temporary };
    let cancelled = false;
    const worker = core.workers.run<AdapterEvent, AdapterFound>('adapter', job, ({ stage, share }) =>
      control.update({ stage, progress: share }),
    );
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    const found = await worker.result.catch((error: unknown) => {
      if (cancelled) return null;
      throw error;
    });
    if (!found || cancelled) return 'cancelled';
    const checkpoints = checkpointsOf(core.home.run(project, as.id));
    mkdirSync(checkpoints, { recursive: true });
    renameSync(temporary, join(checkpoints, IMPORTED));
    // The row comes last: a folder without a row is only waste.
    table.add(
      {
        project,
        model: model.id,
        model_name: model.name,
        model_hash: model.hash,
        dataset: null,
        dataset_name: null,
        dataset_hash: null,
        strategy: null,
        recipe: null,
        imported: { name: nameOf(request), ...found.imported },
        cloned_from: null,
        over_run: null,
        over_checkpoint: null,
        advice: null,
        choice: null,
        versions: { fettle: core.version },
      },
      as,
    );
    core.events.publish(`run:${as.id}`, {
      type: 'checkpoint',
      step: 0,
      name: IMPORTED,
      heldOutLoss: null,
      bytes: found.bytes,
      best: false,
      removed: [],
    });
    core.events.changed('run', as.id, project);
    core.events.changed('project', project, project);
    return 'completed';
  }

  return { start };
}

const nameOf = ({ name, path }: Request): string => name?.trim() || basename(path);
