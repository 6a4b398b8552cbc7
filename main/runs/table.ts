/** @file Table run: written here alone, and read as the contract's Run together with the job and the reported figures. */
import { z } from 'zod';
import { Advice, Choice, Imported, type Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { Recipe, Strategy } from '../contract/recipe.ts';
import { ResultEvent } from '../contract/training.ts';
import type { Core } from '../core/context.ts';
import type { History } from './history.ts';

const json = <T extends z.ZodType>(schema: T): z.ZodPreprocess<T> =>
  z.preprocess((value) => (typeof value === 'string' ? JSON.parse(value) : value), schema);

/** Of an imported adapter these columns are empty: they cannot be NULL. */
const orNone = <T extends z.ZodType>(schema: T): z.ZodPreprocess<z.ZodNullable<T>> =>
  z.preprocess((value) => (value === '' ? null : value), schema.nullable());

const Row = z.object({
  id: z.string(),
  project: z.string(),
  number: z.int(),
  model: z.string(),
  model_name: z.string(),
  model_hash: z.string(),
  dataset: orNone(z.string()),
  dataset_name: orNone(z.string()),
  dataset_hash: orNone(z.string()),
  strategy: orNone(Strategy),
  recipe: z.preprocess(
    (value) => (typeof value === 'string' && value !== '{}' ? JSON.parse(value) : null),
    Recipe.nullable(),
  ),
  imported: json(Imported.nullable()),
  cloned_from: z.string().nullable(),
  over_run: z.string().nullable(),
  over_checkpoint: z.string().nullable(),
  advice: json(Advice.nullable()),
  choice: json(Choice.nullable()),
  result: json(ResultEvent.nullable()),
  versions: json(z.record(z.string(), z.string())),
  created_at: z.string(),
});
export type RunRow = z.infer<typeof Row>;
/** A run that was trained here: its data, strategy and recipe are known. */
export type TrainedRow = RunRow & {
  readonly [K in 'dataset' | 'dataset_name' | 'dataset_hash' | 'strategy' | 'recipe']: NonNullable<RunRow[K]>;
};

/** @throws RUN_STATE where it was brought in. */
export function trained(run: RunRow): TrainedRow {
  const { dataset, dataset_name, dataset_hash, strategy, recipe } = run;
  if (dataset !== null && dataset_name !== null && dataset_hash !== null && strategy !== null && recipe !== null)
    return { ...run, dataset, dataset_name, dataset_hash, strategy, recipe };
  throw new FettleError(
    'RUN_STATE',
    `Run ${run.id} was made elsewhere: neither its data nor its recipe are here.`,
    `Train another over it: --over ${run.id}.`,
  );
}

export type RunName = Pick<RunRow, 'id' | 'number'>;
export type NewRun = Omit<RunRow, 'id' | 'number' | 'result' | 'created_at'>;

export interface RunTable {
  /** @throws RUN_NOT_FOUND */
  row(id: string): RunRow;
  /** Newest first. */
  rows(project?: string): RunRow[];
  /** The name that the next run of a project has. */
  next(project: string): RunName;
  add(run: NewRun, name?: RunName): RunRow;
  setRecipe(id: string, recipe: Recipe): void;
  setResult(id: string, result: ResultEvent | null): void;
  /** Which checkpoint of the run under it a run stands on, for good. */
  setOver(id: string, checkpoint: string): void;
  /** Runs that stand on this one. */
  over(id: string): RunRow[];
  remove(id: string): void;
  view(row: RunRow): Run;
}

export function createRunTable(core: Core, history: History): RunTable {
  const { db } = core;
  const one = db.prepare<[string], unknown>('SELECT * FROM run WHERE id = ?');

  const row = (id: string): RunRow => {
    const found = one.get(id);
    if (!found)
      throw new FettleError(
        'RUN_NOT_FOUND',
        `There is no run named ${JSON.stringify(id)}.`,
        '`fettle run list PROJECT` shows those there are.',
      );
    return Row.parse(found);
  };

  // A number is never given twice, not even where its run was deleted: comparisons and conversations may still name it.
  // Each was some job's, but for those that were brought in before that was one: of them comparisons may tell.
  const nextNumber = db.prepare<[{ project: string }], { number: number }>(
    `SELECT 1 + coalesce(max(number), 0) AS number FROM (
       SELECT number FROM run WHERE project = :project
       UNION ALL
       SELECT CAST(substr(subject, length(:project) + 2) AS INTEGER) FROM job WHERE kind IN ('train', 'adapter') AND project = :project
       UNION ALL
       SELECT CAST(substr(target.value, length(:project) + 2) AS INTEGER)
       FROM comparison, json_each(comparison.request, '$.targets') AS target
       WHERE comparison.project = :project AND substr(target.value, 1, length(:project) + 1) = :project || '-'
     )`,
  );
  const insert = db.prepare(
    `INSERT INTO run (id, project, number, model, model_name, model_hash, dataset, dataset_name, dataset_hash, strategy, recipe, imported, cloned_from, over_run, over_checkpoint, advice, choice, versions, created_at)
     VALUES (:id, :project, :number, :model, :model_name, :model_hash, :dataset, :dataset_name, :dataset_hash, :strategy, :recipe, :imported, :cloned_from, :over_run, :over_checkpoint, :advice, :choice, :versions, :created_at)`,
  );
  const next = (project: string): RunName => {
    const number = nextNumber.get({ project })?.number ?? 1;
    return { id: `${project}-${number}`, number };
  };
  const add = db.transaction((run: NewRun, { id, number }: RunName = next(run.project)): RunRow => {
    insert.run({
      ...run,
      id,
      number,
      dataset: run.dataset ?? '',
      dataset_name: run.dataset_name ?? '',
      dataset_hash: run.dataset_hash ?? '',
      strategy: run.strategy ?? '',
      recipe: JSON.stringify(run.recipe ?? {}),
      imported: run.imported && JSON.stringify(run.imported),
      advice: run.advice && JSON.stringify(run.advice),
      choice: run.choice && JSON.stringify(run.choice),
      versions: JSON.stringify(run.versions),
      created_at: core.clock.now(),
    });
    return row(id);
  });

  const view = (run: RunRow): Run => {
    const job = core.jobs.of('train', run.id);
    const { memoryBytes, ...figures } = history.figures(run.id);
    return {
      id: run.id,
      project: run.project,
      number: run.number,
      state: run.imported ? 'completed' : (job?.state ?? 'interrupted'),
      stage: job?.stage ?? '',
      model: run.model,
      modelName: run.model_name,
      dataset: run.dataset,
      datasetName: run.dataset_name,
      strategy: run.strategy,
      recipe: run.recipe,
      imported: run.imported,
      clonedFrom: run.cloned_from,
      over: run.over_run === null ? null : { run: run.over_run, checkpoint: run.over_checkpoint },
      advice: run.advice,
      choice: run.choice,
      ...figures,
      secondsLeft: job?.secondsLeft ?? null,
      peakMemoryBytes: run.result?.peakMemoryBytes ?? memoryBytes,
      error: job?.error ?? null,
      versions: run.versions,
      createdAt: run.created_at,
      startedAt: job?.startedAt ?? null,
      finishedAt: job?.finishedAt ?? null,
    };
  };

  return {
    row,
    next,
    add,
    view,
    rows: (project) =>
      (project === undefined
        ? db.prepare('SELECT * FROM run ORDER BY created_at DESC, number DESC').all()
        : db.prepare('SELECT * FROM run WHERE project = ? ORDER BY number DESC').all(project)
      ).map((each) => Row.parse(each)),
    setRecipe: (id, recipe) =>
      void db.prepare('UPDATE run SET recipe = ? WHERE id = ?').run(JSON.stringify(recipe), id),
    setResult: (id, result) =>
      void db.prepare('UPDATE run SET result = ? WHERE id = ?').run(result && JSON.stringify(result), id),
    setOver: (id, checkpoint) => void db.prepare('UPDATE run SET over_checkpoint = ? WHERE id = ?').run(checkpoint, id),
    over: (id) =>
      db
        .prepare('SELECT * FROM run WHERE over_run = ? ORDER BY number')
        .all(id)
        .map((each) => Row.parse(each)),
    remove: (id) => void db.prepare('DELETE FROM run WHERE id = ?').run(id),
  };
}
