/** @file Table dataset: one row a version. */
import type { Dataset } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';

interface Row {
  readonly project: string;
  readonly id: string;
  readonly name: string;
  readonly kind: Dataset['kind'];
  readonly hash: string;
  readonly parent: string | null;
  readonly facts: string;
  readonly created_at: string;
}
type Facts = Omit<Dataset, 'id' | 'project' | 'name' | 'kind' | 'hash' | 'parent' | 'createdAt'>;

export interface DatasetTable {
  list(project: string): Dataset[];
  /** @throws DATASET_NOT_FOUND */
  show(project: string, id: string): Dataset;
  has(project: string, id: string): boolean;
  /** The same content again is the same version: its name and what is known of it are renewed. */
  put(
    project: string,
    version: Pick<Dataset, 'id' | 'name' | 'kind' | 'hash' | 'parent'> & { readonly facts: Facts },
  ): void;
  /** @throws DATASET_NOT_FOUND, INPUT_INVALID where a run was trained on it. */
  remove(project: string, id: string): void;
}

export function createDatasetTable({ db, clock }: Core): DatasetTable {
  const one = db.prepare<[string, string], Row>('SELECT * FROM dataset WHERE project = ? AND id = ?');
  const all = db.prepare<[string], Row>('SELECT * FROM dataset WHERE project = ? ORDER BY created_at DESC, rowid DESC');
  const insert = db.prepare(
    `INSERT INTO dataset (project, id, name, kind, hash, parent, facts, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET name = excluded.name, facts = excluded.facts, created_at = excluded.created_at`,
  );
  const view = (row: Row): Dataset => ({
    ...(JSON.parse(row.facts) as Facts),
    id: row.id,
    project: row.project,
    name: row.name,
    kind: row.kind,
    hash: row.hash,
    parent: row.parent,
    createdAt: row.created_at,
  });
  const show = (project: string, id: string): Dataset => {
    const row = one.get(project, id);
    if (!row)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        `There is no dataset ${JSON.stringify(id)} in this project.`,
        '`fettle data show PROJECT` lists those there are.',
      );
    return view(row);
  };
  return {
    list: (project) => all.all(project).map(view),
    show,
    has: (project, id) => one.get(project, id) !== undefined,
    put: (project, { id, name, kind, hash, parent, facts }) =>
      void insert.run(project, id, name, kind, hash, parent, JSON.stringify(facts), clock.now()),
    remove(project, id) {
      show(project, id);
      const used = db
        .prepare<[string, string], { id: string }>('SELECT id FROM run WHERE project = ? AND dataset = ? LIMIT 1')
        .get(project, id);
      if (used)
        throw new FettleError(
          'INPUT_INVALID',
          `Run ${used.id} was trained on this version.`,
          'Delete the run first; a run always keeps the data it used.',
        );
      db.prepare('DELETE FROM dataset WHERE project = ? AND id = ?').run(project, id);
    },
  };
}
