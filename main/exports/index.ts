/** @file Exports: a run handed over as files that other programs load, proven before they are called done. The only writer of table export. */
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { howToRun } from '../contract/clients.ts';
import { Export, ExportFormat, type Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { TYPES_OF } from '../contract/export-types.ts';
import { isActive } from '../contract/training.ts';
import { trainsBy } from '../contract/trains.ts';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { answersOf } from '../runs/folders.ts';
import { checkpointNamed } from '../runs/train.ts';
import type { ExportEvent, ExportJob, ExportResult } from '../workers/export.ts';
import { cardFacts, stagesUnder, type Parts, type Stage } from './facts.ts';
import { forgetOldest } from './kept-answers.ts';
import { checkPlace, clearInterrupted, makeStaging, removeFolder } from './room.ts';

export interface Exports {
  readonly handlers: Handlers<'exports.start' | 'exports.list' | 'exports.show' | 'exports.delete'>;
  show(id: string): Export;
}

interface Row {
  readonly id: string;
  readonly project: string;
  readonly run: string;
  readonly checkpoint: string;
  readonly format: string;
  readonly dtype: string;
  readonly folder: string;
  readonly result: string | null;
  readonly alone: number;
  readonly with_base: number;
  readonly created_at: string;
}

const WORDS: Readonly<Record<ExportFormat, string>> = {
  adapter: 'an adapter',
  'gguf-adapter': 'an adapter in GGUF',
  safetensors: 'a merged folder',
  gguf: 'GGUF',
  ollama: 'an Ollama folder',
  onnx: 'ONNX',
};

export function createExports(core: Core, parts: Parts): Exports {
  const { db } = core;
  const { models, datasets, runs } = parts;
  const one = db.prepare<[string], Row>('SELECT * FROM export WHERE id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM export WHERE project = ? ORDER BY created_at DESC, id DESC');

  /** One that took a folder's name when an older one's had been moved away. */
  const shared = db.prepare<[string, string], Row>('SELECT * FROM export WHERE folder = ? AND id <> ?');
  const unfinished = db.prepare<[], Row>('SELECT * FROM export WHERE result IS NULL');

  // As with runs, a number is never given twice: an export's folder may outlive its row.
  const nextNumber = db.prepare<[{ prefix: string; project: string }], { n: number }>(
    `SELECT 1 + coalesce(max(CAST(substr(id, length(:prefix) + 1) AS INTEGER)), 0) AS n FROM (
       SELECT id FROM export WHERE project = :project
       UNION ALL
       SELECT subject AS id FROM job WHERE kind = 'export' AND project = :project
     )`,
  );

  const ownFolder = (project: string): string => join(core.home.project(project), 'exports');

  const view = (row: Row): Export => {
    const job = core.jobs.of('export', row.id);
    const result = (row.result === null ? {} : JSON.parse(row.result)) as Partial<ExportResult> & { failed?: true };
    const files = result.files?.map(({ name }) => name) ?? [];
    const format = ExportFormat.parse(row.format);
    return Export.parse({
      id: row.id,
      project: row.project,
      run: row.run,
      checkpoint: row.checkpoint,
      format: row.format,
      dtype: row.dtype,
      withBase: row.with_base === 1,
      alone: row.alone === 1,
      folder: row.folder,
      named: dirname(row.folder) !== ownFolder(row.project),
      createdAt: row.created_at,
      state: row.result !== null && !('failed' in result) ? 'completed' : (job?.state ?? 'interrupted'),
      stage: job?.stage ?? '',
      error: job?.error ?? null,
      bytes: 0,
      files: [],
      proof: null,
      ...result,
      // Made when they are shown: what is stored are the facts that they depend on.
      howTo: result.handed ? howToRun({ ...result.handed, format, files }, row.folder) : [],
    });
  };
  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError('INPUT_INVALID', `There is no export named ${JSON.stringify(id)}.`, 'Export again.');
    return found;
  };

  function start(input: ParsedInputOf<'exports.start'>): Export {
    const run = runs.show(input.run);
    const checkpoint = checkpointNamed(run.id, run.checkpoints, input.checkpoint);
    const types = TYPES_OF[input.format];
    const dtype = input.dtype ?? types[0]!;
    if (!types.includes(dtype))
      throw new FettleError('INPUT_INVALID', `${input.format} cannot hold ${dtype}.`, `It takes ${types.join(', ')}.`);
    const adapter = input.format === 'adapter' || input.format === 'gguf-adapter';
    const alone = input.alone && adapter && run.over !== null;
    if (adapter) refuseAdapter(run, alone ? [] : stagesUnder(run, runs), input.format);
    if (input.withBase && input.format !== 'adapter')
      throw new FettleError(
        'INPUT_INVALID',
        'Only a PEFT adapter travels with its base.',
        adapter ? 'llama.cpp takes the base as a GGUF file: export it with --format gguf.' : 'These files hold it.',
      );
    const number = nextNumber.get({ prefix: `${run.project}-export-`, project: run.project })?.n ?? 1;
    const id = `${run.project}-export-${number}`;
    const given = input.out;
    if (given !== undefined && !isAbsolute(given))
      throw new FettleError('INPUT_INVALID', `${given} is not a whole path.`, 'Give the folder by its whole path.');
    const folder = resolve(
      given ??
        join(
          ownFolder(run.project),
          `${run.id}-${checkpoint.name}-${input.format}${types.length === 1 ? '' : `-${dtype}`}-${number}`,
        ),
    );
    checkPlace(folder);
    db.prepare(
      'INSERT INTO export (id, project, run, checkpoint, format, dtype, alone, with_base, folder, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ).run(
      id,
      run.project,
      run.id,
      checkpoint.name,
      input.format,
      dtype,
      Number(alone),
      Number(input.withBase),
      folder,
      core.clock.now(),
    );
    core.jobs.enqueue({
      kind: 'export',
      project: run.project,
      subject: id,
      title: `Exporting run ${run.number} as ${WORDS[input.format]}`,
    });
    core.events.changed('export', id, run.project);
    return view(row(id));
  }

  /** What it is asked for the proof: the held-out rows of its own data; of one made elsewhere, those of the newest data there are. */
  function rowsFor({ project, dataset }: Run): string | null {
    const id =
      dataset ?? datasets.list(project).find(({ kind, heldOutRows }) => trainsBy(kind) && heldOutRows > 0)?.id ?? null;
    return id === null ? null : datasets.rowsFile(project, id);
  }

  core.jobs.handle('export', async (control) => {
    const { id, project, run: runId, checkpoint, format, dtype, folder, ...options } = row(control.job.subject);
    const [alone, withBase] = [options.alone === 1, options.with_base === 1];
    const run = runs.show(runId);
    control.update({ state: 'running', stage: 'Loading the model' });
    let cancelled = false;
    const facts: Omit<ExportJob, 'staging'> = {
      format: ExportFormat.parse(format),
      dtype: Export.shape.dtype.parse(dtype),
      folder,
      model: models.pathOf(run.model),
      adapter: runs.checkpointFolder(run, checkpoint),
      answersFolder: answersOf(core.home.run(run.project, run.id)),
      under: runs.under(run.id),
      alone,
      withBase,
      answers: [run, ...stagesUnder(run, runs)].some(({ strategy }) => strategy === 'instruct'),
      rows: rowsFor(run),
      maxLength: run.recipe?.maxLength ?? null,
      threads: core.threads,
      card: await cardFacts(core, run, { checkpoint, alone, withBase }, parts),
    };
    void core.jobs.settled(control.job.id).then(() => core.events.changed('export', id, project));
    await parts.makeRoom([models.show(run.model)]);
    const staging = await makeStaging(folder, control.job.id);
    const worker = core.workers.run<ExportEvent, ExportResult>(
      'export',
      { ...facts, staging: staging.path } satisfies ExportJob,
      ({ stage, progress }) => control.update({ stage, progress }),
    );
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    try {
      const result = await worker.result;
      await staging.name();
      db.prepare('UPDATE export SET result = ? WHERE id = ?').run(JSON.stringify(result), id);
      core.events.changed('project', project, project);
      return 'completed';
    } catch (error) {
      // However it ended: killed, it could not take away what it had written.
      await worker.gone;
      await staging.clear().catch((fault: unknown) => leftBehind(folder, fault));
      if (cancelled) return 'cancelled';
      // What the proof found stays to be looked at.
      const proof =
        error instanceof FettleError && error.code === 'EXPORT_FAILED' ? error.details?.['proof'] : undefined;
      if (proof)
        db.prepare('UPDATE export SET result = ? WHERE id = ?').run(JSON.stringify({ failed: true, proof }), id);
      throw error;
    } finally {
      await forgetOldest(core.home.projects).catch((error: unknown) =>
        core.log.warn('answers that were kept of runs could not be cleared', { error: String(error) }),
      );
    }
  });

  const leftBehind = (folder: string, fault: unknown): void =>
    core.log.warn('what an export had written could not be removed', { folder, error: String(fault) });

  /** What exports had written that ended with their host: by a power cut, or killed. Disks that are not there hold nobody up. */
  async function clearAllInterrupted(): Promise<void> {
    for (const { id, folder } of unfinished.all()) {
      const job = core.jobs.of('export', id);
      if (job?.state === 'interrupted')
        await clearInterrupted(folder, job.id).catch((fault: unknown) => leftBehind(folder, fault));
    }
  }
  void clearAllInterrupted();

  async function remove(id: string): Promise<{ ok: true }> {
    const { project, folder, named, state } = view(row(id));
    const job = core.jobs.of('export', id);
    if (isActive(state))
      throw new FettleError(
        'EXPORT_IN_USE',
        'This export is being made.',
        'Cancel it, or wait for its end, then delete it.',
      );
    // The files first: what cannot be deleted is still on the list to be tried again.
    if (job) await clearInterrupted(folder, job.id);
    // Its host may have ended just after the folder got its name.
    const written = state === 'completed' || state === 'interrupted';
    if (written && !named && !shared.get(folder, id)) await removeFolder(folder);
    db.prepare('DELETE FROM export WHERE id = ?').run(id);
    core.events.changed('export', id, project);
    core.events.changed('project', project, project);
    return { ok: true };
  }

  return {
    show: (id) => view(row(id)),
    handlers: {
      'exports.start': start,
      'exports.list': (input) => (parts.projects.show(input.project), all.all(input.project).map(view)),
      'exports.show': (input) => view(row(input.export)),
      'exports.delete': (input) => remove(input.export),
    },
  };
}

/** What an adapter's file cannot hold. @throws EXPORT_UNSUPPORTED */
function refuseAdapter({ recipe, imported }: Run, under: readonly Stage[], format: ExportFormat): void {
  const stages = [...under, { recipe, imported }];
  if (recipe?.method !== 'full' && under.some((stage) => stage.recipe?.method === 'full'))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'A stage under this one has trained all weights: the stages cannot be put into one adapter.',
      format === 'adapter'
        ? 'Export the last stage alone with its base beside it (--alone --with-base), or the merged model (safetensors, gguf).'
        : 'Export the last stage alone (--alone), or the merged model (gguf).',
    );
  if (recipe?.method === 'full')
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'All weights of the model were trained: there is no adapter to hand over.',
      'Export the merged model (safetensors), or GGUF.',
    );
  const more = stages.some((stage) => {
    const { useDora, modulesToSave } = stage.imported ?? stage.recipe!;
    return useDora || modulesToSave.length > 0;
  });
  if (more && (under.length > 0 || format === 'gguf-adapter'))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      format === 'gguf-adapter'
        ? 'llama.cpp’s adapters cannot be weight-decomposed (useDora), and hold no modules that were trained in whole.'
        : 'Stages cannot be put into one adapter where one of them is weight-decomposed (useDora) or trained whole modules.',
      `Export the merged model (safetensors, gguf)${under.length > 0 ? ', or the last stage alone' : ''}.`,
    );
}
