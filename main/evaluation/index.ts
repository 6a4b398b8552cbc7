/** @file Comparisons: held-out loss with its margin, the same prompts answered side by side. The only writer of table comparison. */
import { z } from 'zod';
import { Check, Comparison, type Dataset } from '../contract/entities.ts';
import { trainsBy } from '../contract/trains.ts';
import { FettleError } from '../contract/errors.ts';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Models } from '../models/index.ts';
import type { Runs } from '../runs/index.ts';
import type { CompareEvent, CompareJob, CompareResult } from '../workers/compare.ts';
import { judge } from './checks.ts';
import { probesFolder } from './probes.ts';
import { createGeneration } from './generation.ts';
import { settingsOf } from './report.ts';
import { resolveTarget, type ResolvedTarget } from './targets.ts';

type Names = 'evaluation.compare' | 'evaluation.list' | 'evaluation.show' | 'generate.start' | 'generate.stop';
export interface Evaluation {
  readonly handlers: Handlers<Names>;
  show(id: string): Comparison;
  /** Newest first. */
  list(project: string): Comparison[];
}

const Request = z.object({
  targets: z.array(z.string()),
  dataset: z.string(),
  samples: z.int(),
  check: Check.nullable().default(null),
  general: z.boolean().default(false),
});
interface Row {
  readonly id: string;
  readonly project: string;
  readonly request: string;
  readonly result: string | null;
  readonly created_at: string;
}

export function createEvaluation(
  core: Core,
  parts: { readonly models: Models; readonly datasets: Datasets; readonly runs: Runs },
): Evaluation {
  const { db } = core;
  const { datasets, runs } = parts;
  const one = db.prepare<[string], Row>('SELECT * FROM comparison WHERE id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM comparison WHERE project = ? ORDER BY created_at DESC, id DESC');

  const view = (row: Row): Comparison => {
    const job = core.jobs.of('compare', row.id);
    return Comparison.parse({
      id: row.id,
      project: row.project,
      state: row.result !== null ? 'completed' : (job?.state ?? 'interrupted'),
      targets: Request.parse(JSON.parse(row.request)).targets,
      createdAt: row.created_at,
      error: job?.error ?? null,
      result: row.result === null ? null : JSON.parse(row.result),
    });
  };
  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError('INPUT_INVALID', `There is no comparison named ${JSON.stringify(id)}.`, 'Compare again.');
    return found;
  };

  /** Named, else what a compared run was trained on, else the newest of the project. */
  function datasetFor(project: string, named: string | undefined, targets: readonly ResolvedTarget[]): Dataset {
    const run = targets.find((target) => target.run?.project === project)?.run;
    const id = named ?? run?.dataset ?? datasets.list(project).find((each) => trainsBy(each.kind))?.id;
    if (id === undefined)
      throw new FettleError('DATASET_NOT_FOUND', 'This project has no data to compare on.', 'Import data first.');
    return datasets.show(project, id);
  }

  function compare(input: ParsedInputOf<'evaluation.compare'>): Comparison {
    const { project, targets: names, dataset, samples, check, general } = input;
    if (check?.kind === 'pattern' || check?.kind === 'contains') judge(check, '', '');
    const targets = names.map((name) => resolveTarget(parts, name));
    if (new Set(names).size !== names.length)
      throw new FettleError('INPUT_INVALID', 'A model cannot be compared with itself.', 'Name each target once.');
    const data = datasetFor(project, dataset, targets);
    if (data.heldOutRows === 0)
      throw new FettleError(
        'DATA_EMPTY',
        `“${data.name}” has no held-out rows.`,
        'Import it again with some held out.',
      );
    const number =
      db.prepare<[string], { n: number }>('SELECT count(*) + 1 AS n FROM comparison WHERE project = ?').get(project)
        ?.n ?? 1;
    const id = `${project}-compare-${number}`;
    db.prepare('INSERT INTO comparison (id, project, request, created_at) VALUES (?, ?, ?, ?)').run(
      id,
      project,
      JSON.stringify({ targets: names, dataset: data.id, samples, check: check ?? null, general }),
      core.clock.now(),
    );
    core.jobs.enqueue({
      kind: 'compare',
      project,
      subject: id,
      title: `Comparing ${targets.map((target) => target.label).join(' and ')}`,
    });
    core.events.changed('comparison', id, project);
    return view(row(id));
  }

  core.jobs.handle('compare', async (control) => {
    const { id, project, request } = row(control.job.subject);
    const { targets: names, dataset, samples, check, general } = Request.parse(JSON.parse(request));
    const targets = names.map((name) => resolveTarget(parts, name));
    const data = datasets.show(project, dataset);
    control.update({ state: 'running', stage: 'Loading' });
    let cancelled = false;
    const job: CompareJob = {
      targets: targets.map(({ target, label, modelPath, adapter, under }) => ({
        target,
        label,
        model: modelPath,
        adapter,
        under,
      })),
      rows: datasets.rowsFile(project, dataset),
      prose: data.kind === 'prose',
      maxLength: Math.max(...targets.map((target) => target.run?.recipe?.maxLength ?? 0)) || 512,
      samples,
      check,
      probes: general ? probesFolder() : null,
      threads: core.threads,
    };
    const worker = core.workers.run<CompareEvent, CompareResult>('compare', job, ({ stage, progress }) =>
      control.update({ stage, progress }),
    );
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    void core.jobs.settled(control.job.id).then(() => core.events.changed('comparison', id, project));
    try {
      const measured = await worker.result;
      const settings = settingsOf(
        targets.map(({ model, run, checkpoint }) => ({
          modelName: model.name,
          run,
          checkpoint,
          datasetName: run?.datasetName ?? null,
        })),
      );
      db.prepare('UPDATE comparison SET result = ? WHERE id = ?').run(JSON.stringify({ ...measured, settings }), id);
      core.events.changed('project', project, project);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    }
  });

  const list = (project: string): Comparison[] => all.all(project).map(view);
  return {
    show: (id) => view(row(id)),
    list,
    handlers: {
      'evaluation.compare': compare,
      'evaluation.list': (input) => list(input.project),
      'evaluation.show': (input) => view(row(input.comparison)),
      ...createGeneration(core, { models: parts.models, runs }),
    },
  };
}
