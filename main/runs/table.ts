/** @file Table run: written here alone, and read as the contract's Run together with the job and the reported figures. */
import { z } from 'zod';
import { Advice, Choice, type Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { Recipe, Strategy } from '../contract/recipe.ts';
import { ResultEvent } from '../contract/training.ts';
import type { Core } from '../core/context.ts';
import type { History } from './history.ts';

const json = <T extends z.ZodType>(schema: T): z.ZodPreprocess<T> =>
  z.preprocess((value) => (typeof value === 'string' ? JSON.parse(value) : value), schema);

const Row = z.object({
  id: z.string(),
  project: z.string(),
  number: z.int(),
  model: z.string(),
  model_name: z.string(),
  model_hash: z.string(),
  dataset: z.string(),
  dataset_name: z.string(),
  dataset_hash: z.string(),
  strategy: Strategy,
  recipe: json(Recipe),
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
export type NewRun = Omit<RunRow, 'id' | 'number' | 'result' | 'created_at'>;

export interface RunTable {
  /** @throws RUN_NOT_FOUND */
  row(id: string): RunRow;
  /** Newest first. */
  rows(project?: string): RunRow[];
  add(run: NewRun): RunRow;
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

  // A number is never given twice, not even where its run was deleted: comparisons may still name it.
  const nextNumber = db.prepare<[{ project: string }], { number: number }>(
    `SELECT 1 + coalesce(max(number), 0) AS number FROM (
       SELECT number FROM run WHERE project = :project
       UNION ALL
       SELECT CAST(substr(subject, length(:project) + 2) AS INTEGER) FROM job WHERE kind = 'train' AND project = :project
     )`,
  );
  const insert = db.prepare(
    `INSERT INTO run (id, project, number, model, model_name, model_hash, dataset, dataset_name, dataset_hash, strategy, recipe, cloned_from, over_run, over_checkpoint, advice, choice, versions, created_at)
     VALUES (:id, :project, :number, :model, :model_name, :model_hash, :dataset, :dataset_name, :dataset_hash, :strategy, :recipe, :cloned_from, :over_run, :over_checkpoint, :advice, :choice, :versions, :created_at)`,
  );
  const add = db.transaction((run: NewRun): RunRow => {
    const number = nextNumber.get({ project: run.project })?.number ?? 1;
    const id = `${run.project}-${number}`;
    insert.run({
      ...run,
      id,
      number,
      recipe: JSON.stringify(run.recipe),
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
      state: job?.state ?? 'interrupted',
      stage: job?.stage ?? '',
      model: run.model,
      modelName: run.model_name,
      dataset: run.dataset,
      datasetName: run.dataset_name,
      strategy: run.strategy,
      recipe: run.recipe,
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
