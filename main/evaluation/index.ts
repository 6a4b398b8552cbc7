/** @file Comparisons: models measured on suites, alone or against each other, with the verdict on the strategy. The only writer of table comparison. */
import { z } from 'zod';
import {
  Check,
  ComparisonResult,
  SuiteName,
  type Comparison,
  type ComparisonSummary,
  type Dataset,
  type LearningCurve,
} from '../contract/entities.ts';
import { trainsBy } from '../contract/trains.ts';
import { FettleError } from '../contract/errors.ts';
import type { ParsedInputOf } from '../contract/api.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import type { CompareEvent, CompareJob } from '../workers/compare.ts';
import type { StrategyService } from '../strategy/index.ts';
import type { Generation } from '../talk/generation.ts';
import { validate } from './checks.ts';
import { settingsOf } from './differences.ts';
import type { Outcome } from './outcome.ts';
import { probesFolder } from './probes.ts';
import { readResult } from './stored.ts';
import { compared, learnedBy, resolveTarget, type ResolvedTarget } from './targets.ts';
import { verdictsOf } from './verdict/index.ts';

type Names = 'evaluation.compare' | 'evaluation.list' | 'evaluation.show';
export interface Evaluation {
  readonly handlers: Handlers<Names>;
  /** @throws INPUT_INVALID for one that is not there */
  show(id: string): Promise<Comparison>;
  /** Newest first. */
  list(project: string): ComparisonSummary[];
}
interface Parts {
  readonly projects: Pick<Projects, 'show'>;
  readonly models: Models;
  readonly datasets: Datasets;
  readonly runs: Runs;
  readonly strategy: Pick<StrategyService, 'answers'>;
  readonly makeRoom: Generation['makeRoom'];
  /** Learning curves of a project, newest first. */
  readonly curves: (project: string) => Promise<LearningCurve[]>;
}

/** Tokens of a held-out row that are measured. It depends on no recipe: a run's loss is the same beside whichever other. */
const LENGTH = 1024;

const Request = z.object({
  targets: z.array(z.string()),
  labels: z.array(z.string()).optional(),
  /** Null where no suite needs data. */
  dataset: z.string().nullable(),
  samples: z.int(),
  checks: z.array(Check).default([]),
  suites: z.array(SuiteName).default(['held-out', 'task']),
});
interface Row {
  readonly id: string;
  readonly project: string;
  readonly request: string;
  readonly result: string | null;
  readonly created_at: string;
}

export function createEvaluation(core: Core, parts: Parts): Evaluation {
  const { db } = core;
  const { datasets } = parts;
  const one = db.prepare<[string], Row>('SELECT * FROM comparison WHERE id = ?');
  const all = db.prepare<[string], Omit<Row, 'result'> & { readonly measured: number }>(
    `SELECT id, project, request, created_at, result IS NOT NULL AS measured FROM comparison
     WHERE project = ? ORDER BY created_at DESC, id DESC`,
  );

  const summary = (row: Omit<Row, 'result'>, measured: boolean): ComparisonSummary => {
    const job = core.jobs.of('compare', row.id);
    const { targets, labels } = Request.parse(JSON.parse(row.request));
    return {
      id: row.id,
      project: row.project,
      state: measured ? 'completed' : (job?.state ?? 'interrupted'),
      targets,
      labels: labels ?? targets,
      createdAt: row.created_at,
      error: job?.error ?? null,
    };
  };
  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError('INPUT_INVALID', `There is no comparison named ${JSON.stringify(id)}.`, 'Compare again.');
    return found;
  };
  /** @throws RESULT_NEWER */
  async function show(id: string): Promise<Comparison> {
    const { result: stored, ...rest } = row(id);
    const result = stored === null ? null : readResult(stored);
    const verdicts = result ? verdictsOf(result, await parts.curves(rest.project)) : [];
    return { ...summary(rest, result !== null), result, verdicts };
  }

  /** Named, else what a compared run was trained on, else the newest of the project. */
  function datasetFor(project: string, named: string | undefined, targets: readonly ResolvedTarget[]): Dataset {
    const run = targets.find((target) => target.run?.project === project)?.run;
    const id = named ?? run?.dataset ?? datasets.list(project).find((each) => trainsBy(each.kind))?.id;
    if (id === undefined)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        'This project has no data to compare on.',
        'Import data first, or ask for the suites that need none: general (general skills) and prose (other text).',
      );
    const data = datasets.show(project, id);
    if (data.heldOutRows === 0)
      throw new FettleError(
        'DATA_EMPTY',
        `“${data.name}” has no held-out rows.`,
        'Import it again with some held out.',
      );
    return data;
  }

  function compare(input: ParsedInputOf<'evaluation.compare'>): Promise<Comparison> {
    const { project, targets: names, dataset, samples, checks } = input;
    parts.projects.show(project);
    for (const check of checks) validate(check);
    const targets = names.map((name) => resolveTarget(parts, name));
    if (new Set(names).size !== names.length)
      throw new FettleError('INPUT_INVALID', 'A model cannot be compared with itself.', 'Name each target once.');
    const suites = SuiteName.options.filter((name) => input.suites.includes(name));
    const needsData = suites.includes('held-out') || suites.includes('task');
    const data = needsData ? datasetFor(project, dataset, targets) : null;
    const number =
      db.prepare<[string], { n: number }>('SELECT count(*) + 1 AS n FROM comparison WHERE project = ?').get(project)
        ?.n ?? 1;
    const id = `${project}-compare-${number}`;
    const labels = targets.map(({ label }) => label);
    db.prepare('INSERT INTO comparison (id, project, request, created_at) VALUES (?, ?, ?, ?)').run(
      id,
      project,
      JSON.stringify({ targets: names, labels, dataset: data?.id ?? null, samples, checks, suites }),
      core.clock.now(),
    );
    core.jobs.enqueue({
      kind: 'compare',
      project,
      subject: id,
      title: `${targets.length === 1 ? 'Measuring' : 'Comparing'} ${labels.join(' and ')}`,
    });
    core.events.changed('comparison', id, project);
    return show(id);
  }

  core.jobs.handle('compare', async (control) => {
    const { id, project, request } = row(control.job.subject);
    const { targets: names, dataset, samples, checks, suites } = Request.parse(JSON.parse(request));
    // What was there when it was asked for may be gone since: then this says so.
    const targets = names.map((name) => resolveTarget(parts, name));
    const data = dataset === null ? null : datasets.show(project, dataset);
    await parts.makeRoom(targets.map(({ model }) => model));
    control.update({ state: 'running', stage: 'Loading' });
    const learned = targets.map((target) => learnedBy(target, parts));
    let cancelled = false;
    const job: CompareJob = {
      targets: targets.map(({ target, label, modelPath, adapter, under }) => ({
        target,
        label,
        model: modelPath,
        adapter,
        under,
      })),
      suites,
      rows: data && datasets.rowsFile(project, data.id),
      dataset: data?.id ?? '',
      prose: data?.kind === 'prose',
      learned: learned.flatMap(({ files }) => files),
      unchecked: targets.filter((_, i) => !learned[i]!.known).map(({ label }) => label),
      maxLength: Math.min(LENGTH, ...(await readAtMost(targets))),
      samples,
      checks,
      probes: probesFolder(),
      threads: core.threads,
    };
    const worker = core.workers.run<CompareEvent, Outcome>('compare', job, ({ stage, progress }) =>
      control.update({ stage, progress }),
    );
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    void core.jobs.settled(control.job.id).then(() => core.events.changed('comparison', id, project));
    try {
      const measured = await worker.result;
      const result = ComparisonResult.parse({
        ...measured,
        version: 2,
        models: await Promise.all(targets.map((target) => compared(target, trainRowsOf(target)))),
        answers: parts.strategy.answers(project),
        settings: settingsOf(targets.map(({ model, run, checkpoint }) => ({ modelName: model.name, run, checkpoint }))),
      });
      db.prepare('UPDATE comparison SET result = ? WHERE id = ?').run(JSON.stringify(result), id);
      core.events.changed('project', project, project);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    }
  });

  /** Positions of each model. */
  const readAtMost = async (targets: readonly ResolvedTarget[]): Promise<number[]> =>
    (await Promise.all(targets.map(({ model }) => parts.models.spec(model.id)))).map(
      ({ maxPositions }) => maxPositions,
    );

  /** Null where the data were deleted since. */
  function trainRowsOf({ run }: ResolvedTarget): number | null {
    return (run && datasets.list(run.project).find(({ id }) => id === run.dataset)?.trainRows) ?? null;
  }

  const list = (project: string): ComparisonSummary[] =>
    all.all(project).map(({ measured, ...each }) => summary(each, measured === 1));
  return {
    show,
    list,
    handlers: {
      'evaluation.compare': compare,
      'evaluation.list': (input) => (parts.projects.show(input.project), list(input.project)),
      'evaluation.show': (input) => show(input.comparison),
    },
  };
}
