/** @file Exports: a run handed over as files that other programs load, proven before they are called done. The only writer of table export. */
import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { Export, ExportFormat, type Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { TYPES_OF } from '../contract/export-types.ts';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Models } from '../models/index.ts';
import type { Runs } from '../runs/index.ts';
import { checkpointNamed } from '../runs/train.ts';
import type { ExportEvent, ExportJob, ExportResult } from '../workers/export.ts';
import type { CardFacts } from './card.ts';

export interface Exports {
  readonly handlers: Handlers<'exports.start' | 'exports.list' | 'exports.show'>;
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
  readonly created_at: string;
}

const WORDS: Readonly<Record<ExportFormat, string>> = {
  adapter: 'an adapter',
  safetensors: 'a merged folder',
  gguf: 'GGUF',
  ollama: 'an Ollama folder',
  onnx: 'ONNX',
};

interface Parts {
  readonly models: Models;
  readonly datasets: Datasets;
  readonly runs: Runs;
}

export function createExports(core: Core, parts: Parts): Exports {
  const { db } = core;
  const { models, runs } = parts;
  const one = db.prepare<[string], Row>('SELECT * FROM export WHERE id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM export WHERE project = ? ORDER BY created_at DESC, id DESC');

  // As with runs, a number is never given twice: an export's folder may outlive its row.
  const nextNumber = db.prepare<[{ prefix: string; project: string }], { n: number }>(
    `SELECT 1 + coalesce(max(CAST(substr(id, length(:prefix) + 1) AS INTEGER)), 0) AS n FROM (
       SELECT id FROM export WHERE project = :project
       UNION ALL
       SELECT subject AS id FROM job WHERE kind = 'export' AND project = :project
     )`,
  );

  const view = (row: Row): Export => {
    const job = core.jobs.of('export', row.id);
    const result = row.result === null ? {} : JSON.parse(row.result);
    return Export.parse({
      id: row.id,
      project: row.project,
      run: row.run,
      checkpoint: row.checkpoint,
      format: row.format,
      dtype: row.dtype,
      folder: row.folder,
      createdAt: row.created_at,
      state: row.result !== null && !('failed' in result) ? 'completed' : (job?.state ?? 'interrupted'),
      stage: job?.stage ?? '',
      error: job?.error ?? null,
      bytes: 0,
      files: [],
      proof: null,
      ...result,
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
    const dtype = input.format === 'adapter' ? 'f32' : (input.dtype ?? types[0]!);
    if (!types.includes(dtype))
      throw new FettleError('INPUT_INVALID', `${input.format} cannot hold ${dtype}.`, `It takes ${types.join(', ')}.`);
    const alone = input.alone && input.format === 'adapter' && run.over !== null;
    if (input.format === 'adapter') refuseAdapter(run, alone ? [] : stagesUnder(run, runs));
    const number = nextNumber.get({ prefix: `${run.project}-export-`, project: run.project })?.n ?? 1;
    const id = `${run.project}-export-${number}`;
    const folder =
      input.out ??
      join(
        core.home.project(run.project),
        'exports',
        `${run.id}-${checkpoint.name}-${input.format}${input.format === 'adapter' ? '' : `-${dtype}`}-${number}`,
      );
    if (!isAbsolute(folder))
      throw new FettleError('INPUT_INVALID', `${folder} is not a whole path.`, 'Give the folder by its whole path.');
    if (existsSync(folder))
      throw new FettleError('TARGET_EXISTS', `${folder} exists already.`, 'Name a folder that does not exist yet.');
    db.prepare(
      'INSERT INTO export (id, project, run, checkpoint, format, dtype, alone, folder, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ).run(id, run.project, run.id, checkpoint.name, input.format, dtype, Number(alone), folder, core.clock.now());
    core.jobs.enqueue({
      kind: 'export',
      project: run.project,
      subject: id,
      title: `Exporting run ${run.number} as ${WORDS[input.format]}`,
    });
    core.events.changed('export', id, run.project);
    return view(row(id));
  }

  core.jobs.handle('export', async (control) => {
    const { id, project, run: runId, checkpoint, format, dtype, folder, alone } = row(control.job.subject);
    const run = runs.show(runId);
    control.update({ state: 'running', stage: 'Loading the model' });
    let cancelled = false;
    const job: ExportJob = {
      format: ExportFormat.parse(format),
      dtype: Export.shape.dtype.parse(dtype),
      folder,
      model: models.pathOf(run.model),
      adapter: runs.checkpointFolder(run, checkpoint),
      under: runs.under(run.id),
      alone: alone === 1,
      answers: [run, ...stagesUnder(run, runs).map((stage) => stage.run)].some(
        ({ strategy }) => strategy === 'instruct',
      ),
      rows: parts.datasets.rowsFile(project, run.dataset),
      threads: core.threads,
      card: cardFacts(core, run, checkpoint, alone === 1, parts),
    };
    const worker = core.workers.run<ExportEvent, ExportResult>('export', job, ({ stage, progress }) =>
      control.update({ stage, progress }),
    );
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    void core.jobs.settled(control.job.id).then(() => core.events.changed('export', id, project));
    try {
      const result = await worker.result;
      db.prepare('UPDATE export SET result = ? WHERE id = ?').run(JSON.stringify(result), id);
      core.events.changed('project', project, project);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      // What the proof found stays to be looked at.
      const proof =
        error instanceof FettleError && error.code === 'EXPORT_FAILED' ? error.details?.['proof'] : undefined;
      if (proof)
        db.prepare('UPDATE export SET result = ? WHERE id = ?').run(JSON.stringify({ failed: true, proof }), id);
      throw error;
    }
  });

  return {
    show: (id) => view(row(id)),
    handlers: {
      'exports.start': start,
      'exports.list': (input) => all.all(input.project).map(view),
      'exports.show': (input) => view(row(input.export)),
    },
  };
}

/** What an adapter's file cannot hold. @throws EXPORT_UNSUPPORTED */
function refuseAdapter(run: Run, under: readonly Stage[]): void {
  const stages = [...under.map((stage) => stage.run), run];
  if (stages.some(({ recipe }) => recipe.method === 'full'))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'All weights of the model were trained: there is no adapter to hand over.',
      'Export the merged model (safetensors), or GGUF.',
    );
  if (under.length > 0 && stages.some(({ recipe }) => recipe.useDora || recipe.modulesToSave.length > 0))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'Stages cannot be put into one adapter where one of them is weight-decomposed (useDora) or trained whole modules.',
      'Export the merged model (safetensors), or the last stage alone.',
    );
}

interface Stage {
  readonly run: Run;
  readonly checkpoint: string;
}
/** First stage to last. */
function stagesUnder({ over }: Run, runs: Runs): Stage[] {
  if (!over || over.checkpoint === null) return [];
  const below = runs.show(over.run);
  return [...stagesUnder(below, runs), { run: below, checkpoint: over.checkpoint }];
}

/** What the model card tells: lineage and figures, nothing of the data itself and nothing of this machine. */
function cardFacts(
  core: Core,
  run: Run,
  checkpoint: string,
  alone: boolean,
  { models, datasets, runs }: Parts,
): CardFacts {
  const model = models.show(run.model);
  const { kind, trainRows, heldOutRows, words, hash } = datasets.show(run.project, run.dataset);
  const { initAdapter, ...recipe } = run.recipe;
  return {
    title: `${run.project}, run ${run.number}`,
    base: {
      name: model.name,
      license: model.license,
      architecture: model.architecture,
      parameters: model.parameters,
      storage: model.storage,
      hash: model.hash,
    },
    strategy: run.strategy,
    advice: run.advice && { strategy: run.advice.strategy, summary: run.advice.summary },
    choice: run.choice && { reason: run.choice.reason, overruled: run.choice.overruled },
    data: { kind, trainRows, heldOutRows, words, hash },
    recipe,
    stages: stagesUnder(run, runs).map(({ run: { id, strategy }, checkpoint: name }) => ({
      run: id,
      strategy,
      checkpoint: name,
    })),
    alone,
    startedFromAdapter: initAdapter !== undefined,
    checkpoint: run.checkpoints.find((each) => each.name === checkpoint) ?? null,
    steps: run.step,
    tokens: run.tokens,
    heldOutLossStart: run.heldOutLossStart,
    versions: { ...run.versions, fettle: core.version },
  };
}
