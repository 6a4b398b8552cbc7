/** @file Datasets: immutable versions of a project's rows and documents. The only writer of table dataset. */
import { rm } from 'node:fs/promises';
import { mkdirSync } from 'node:fs';
import { basename, extname, join, resolve } from 'node:path';
import type { Dataset, DatasetRow, TokenStats } from '../contract/entities.ts';
import type { ParsedInputOf } from '../contract/api.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { DataJob } from '../workers/data.ts';
import type { ImportResult } from './import.ts';
import { readRows, textOfRow, type StoredRow } from './rows.ts';
import { renderRow } from './tokens.ts';

interface Row {
  project: string;
  id: string;
  name: string;
  kind: Dataset['kind'];
  hash: string;
  facts: string;
  created_at: string;
}
type Names =
  | 'datasets.import'
  | 'datasets.list'
  | 'datasets.show'
  | 'datasets.rows'
  | 'datasets.render'
  | 'datasets.tokens'
  | 'datasets.delete';
type ImportInput = Omit<ParsedInputOf<'datasets.import'>, 'heldOut'> & { readonly heldOut?: number };

export interface Datasets {
  readonly handlers: Handlers<Names>;
  import(request: ImportInput): Promise<Dataset>;
  list(project: string): Dataset[];
  show(project: string, id: string): Dataset;
  /** rows.jsonl of a version; `readRows` reads it. */
  rowsFile(project: string, id: string): string;
}

export function createDatasets(
  core: Core,
  { models, projects }: { readonly models: Models; readonly projects: Projects },
): Datasets {
  const { db } = core;
  const select = db.prepare<[string, string], Row>('SELECT * FROM dataset WHERE project = ? AND id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM dataset WHERE project = ? ORDER BY created_at DESC, id');
  const stats = new Map<string, Promise<TokenStats>>();

  const folderOf = (project: string): string => join(core.home.project(project), 'datasets');
  const rowsFile = (project: string, id: string): string => join(folderOf(project), id, 'rows.jsonl');
  const view = (row: Row): Dataset => ({
    ...(JSON.parse(row.facts) as Omit<ImportResult, 'id' | 'kind' | 'hash'>),
    id: row.id,
    project: row.project,
    name: row.name,
    kind: row.kind,
    hash: row.hash,
    createdAt: row.created_at,
  });
  const show = (project: string, id: string): Dataset => {
    const row = select.get(project, id);
    if (!row)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        `There is no dataset ${JSON.stringify(id)} in this project.`,
        '`fettle data show PROJECT` lists those there are.',
      );
    return view(row);
  };
  const work = <Result>(job: DataJob): Promise<Result> =>
    core.workers.run<never, Result>('data', job, () => undefined).result;

  const bringIn = async (request: ImportInput): Promise<Dataset> => {
    projects.show(request.project);
    const folder = folderOf(request.project);
    mkdirSync(folder, { recursive: true });
    const paths = request.paths.map((path) => resolve(path));
    const result = await work<ImportResult>({
      task: 'import',
      request: { paths, kind: request.kind, map: request.map, heldOut: request.heldOut ?? 0.1, folder },
    });
    const { id, kind, hash, ...facts } = result;
    const name = request.name ?? basename(paths[0]!, extname(paths[0]!));
    db.prepare(
      'INSERT INTO dataset (project, id, name, kind, hash, facts, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name, facts = excluded.facts',
    ).run(request.project, id, name, kind, hash, JSON.stringify(facts), core.clock.now());
    core.events.changed('dataset', id, request.project);
    core.events.changed('project', request.project, request.project);
    return show(request.project, id);
  };

  return {
    import: bringIn,
    show,
    rowsFile,
    list: (project) => all.all(project).map(view),
    handlers: {
      'datasets.import': bringIn,
      'datasets.list': ({ project }) => {
        projects.show(project);
        return all.all(project).map(view);
      },
      'datasets.show': ({ project, dataset }) => show(project, dataset),
      'datasets.rows': async ({ project, dataset, offset, limit, search }) => {
        const known = show(project, dataset);
        return page(rowsFile(project, dataset), offset, limit, search?.toLowerCase(), known.rows);
      },
      'datasets.render': async ({ project, dataset, model, index, maxLength }) => {
        show(project, dataset);
        const text = await models.text(model);
        for await (const row of readRows(rowsFile(project, dataset)))
          if (row.index === index) return renderRow(row, text, maxLength);
        throw new FettleError('INPUT_INVALID', `There is no row ${index} in this dataset.`, 'Rows are counted from 0.');
      },
      'datasets.tokens': ({ project, dataset, model, maxLength }) => {
        const key = [show(project, dataset).hash, models.show(model).hash, maxLength].join(' ');
        let found = stats.get(key);
        if (!found) {
          found = work<TokenStats>({
            task: 'tokens',
            rows: rowsFile(project, dataset),
            model: models.pathOf(model),
            maxLength,
          });
          found.catch(() => stats.delete(key));
          stats.set(key, found);
        }
        return found;
      },
      'datasets.delete': async ({ project, dataset }) => {
        show(project, dataset);
        const used = db
          .prepare<[string, string], { id: string }>('SELECT id FROM run WHERE project = ? AND dataset = ? LIMIT 1')
          .get(project, dataset);
        if (used)
          throw new FettleError(
            'INPUT_INVALID',
            `Run ${used.id} was trained on this version.`,
            'Delete the run first; a run always keeps the data it used.',
          );
        db.prepare('DELETE FROM dataset WHERE project = ? AND id = ?').run(project, dataset);
        await rm(join(folderOf(project), dataset), { recursive: true, force: true });
        core.events.changed('dataset', dataset, project);
        core.events.changed('project', project, project);
        return { ok: true };
      },
    },
  };
}

async function page(
  file: string,
  offset: number,
  limit: number,
  search: string | undefined,
  total: number,
): Promise<{ total: number; rows: DatasetRow[] }> {
  const rows: DatasetRow[] = [];
  let matched = 0;
  for await (const row of readRows(file)) {
    if (search && !matches(row, search)) continue;
    if (matched >= offset && rows.length < limit) rows.push(row);
    matched++;
    if (!search && rows.length === limit) return { total, rows };
  }
  return { total: matched, rows };
}

const matches = (row: StoredRow, search: string): boolean => textOfRow(row).toLowerCase().includes(search);
