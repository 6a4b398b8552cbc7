/** @file An adapter that was made elsewhere, brought in as a run: looked at in a process of its own, then kept as its one checkpoint. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { AdapterFound, AdapterJob } from '../workers/adapter.ts';
import { checkpointsOf } from './folders.ts';
import type { RunTable } from './table.ts';

/** Its checkpoint's name. */
const IMPORTED = 'imported';

/** @throws PROJECT_NOT_FOUND, MODEL_NOT_FOUND, FILE_NOT_FOUND, FORMAT_INVALID, MODEL_UNSUPPORTED, MODEL_INCOMPLETE, DISK_FULL */
export async function importAdapter(
  core: Core,
  { table, models, projects }: { readonly table: RunTable; readonly models: Models; readonly projects: Projects },
  { project, model: modelId, path, name }: ParsedInputOf<'runs.import'>,
): Promise<Run> {
  projects.show(project);
  const model = models.show(modelId);
  if (!isAbsolute(path))
    throw new FettleError('INPUT_INVALID', `${path} is not a whole path.`, 'Give the folder by its whole path.');
  const temporary = join(core.home.temporary, `adapter-${crypto.randomUUID()}`);
  const job: AdapterJob = { from: path, model: models.pathOf(model.id), modelName: model.name, to: temporary };
  const { imported, bytes } = await core.workers.run<never, AdapterFound>('adapter', job, () => undefined).result;
  const run = table.add({
    project,
    model: model.id,
    model_name: model.name,
    model_hash: model.hash,
    dataset: null,
    dataset_name: null,
    dataset_hash: null,
    strategy: null,
    recipe: null,
    imported: { name: name?.trim() || basename(path), ...imported },
    cloned_from: null,
    over_run: null,
    over_checkpoint: null,
    advice: null,
    choice: null,
    versions: { fettle: core.version },
  });
  try {
    const checkpoints = checkpointsOf(core.home.run(project, run.id));
    await mkdir(checkpoints, { recursive: true });
    await rename(temporary, join(checkpoints, IMPORTED));
  } catch (error) {
    table.remove(run.id);
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  core.events.publish(`run:${run.id}`, {
    type: 'checkpoint',
    step: 0,
    name: IMPORTED,
    heldOutLoss: null,
    bytes,
    best: false,
    removed: [],
  });
  core.events.changed('run', run.id, project);
  core.events.changed('project', project, project);
  return table.view(run);
}
