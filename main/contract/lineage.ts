/** @file Where runs come from, as rows of a picture: the base at the top, each run under what it stands on or was made from. */
import type { Run } from './entities.ts';

type Origin = Pick<
  Run,
  | 'id'
  | 'number'
  | 'model'
  | 'modelName'
  | 'strategy'
  | 'recipe'
  | 'imported'
  | 'over'
  | 'clonedFrom'
  | 'datasetName'
  | 'step'
>;
export interface LineageNode {
  readonly id: string;
  readonly kind: 'model' | 'run' | 'gone';
  readonly title: string;
  readonly note: string;
  /** Columns from the left; the base is at 0. */
  readonly depth: number;
  /** Row of the one above it; null for a base. */
  readonly parent: number | null;
  readonly current: boolean;
}

/** The run whose checkpoint an adapter's folder is, where it is one of these. */
const adapterRun = ({ recipe }: Origin, runs: readonly Origin[]): string | undefined => {
  const parts = recipe?.initAdapter?.split(/[\\/]/) ?? [];
  return runs.find(({ id }) => parts.includes(id))?.id;
};

/** What a run was made from: a stage under it, a run it was cloned from, a run whose adapter it began with; else the base. */
function parentOf(run: Origin, runs: readonly Origin[]): { readonly id: string | null; readonly how: string } {
  const { over, clonedFrom, recipe } = run;
  if (over) return { id: over.run, how: over.checkpoint ? `over its ${over.checkpoint}` : 'over it, when it is done' };
  if (recipe?.initAdapter !== undefined) {
    const from = adapterRun(run, runs);
    return { id: from ?? null, how: from ? 'goes on from its adapter' : 'goes on from an adapter of another place' };
  }
  if (clonedFrom !== null) return { id: clonedFrom, how: 'its recipe, changed' };
  return { id: null, how: '' };
}

/** @param current runs that are looked at: those they come from and those that come from them are shown. */
export function lineageOf(current: readonly string[], runs: readonly Origin[]): LineageNode[] {
  const known = new Map(runs.map((run) => [run.id, run]));
  const parents = new Map(runs.map((run) => [run.id, parentOf(run, runs)]));
  const shown = new Set<string>();
  const up = (id: string | null): void => {
    if (id === null || shown.has(id)) return;
    shown.add(id);
    up(parents.get(id)?.id ?? null);
  };
  for (const id of current) up(id);
  // What was made from those looked at, however far.
  for (let before = -1; before !== shown.size;) {
    before = shown.size;
    for (const run of runs) {
      const { id } = parents.get(run.id)!;
      if (id !== null && shown.has(id) && (current.includes(id) || isBelow(id, current, parents))) shown.add(run.id);
    }
  }
  const nodes: LineageNode[] = [];
  const add = (id: string, depth: number, parent: number): void => {
    const run = known.get(id);
    const at = nodes.length;
    const how = parents.get(id)?.how ?? '';
    nodes.push(
      run
        ? {
            id,
            kind: 'run',
            title: `Run ${run.number}`,
            note: [
              run.imported
                ? `${run.imported.name}, made elsewhere, rank ${run.imported.rank}`
                : `${run.strategy} on ${run.datasetName}, ${run.recipe?.method === 'full' ? 'all weights' : `rank ${run.recipe?.rank}`}, ${run.step} steps`,
              ...(how === '' ? [] : [how]),
            ].join('; '),
            depth,
            parent,
            current: current.includes(id),
          }
        : { id, kind: 'gone', title: id, note: 'deleted since', depth, parent, current: false },
    );
    for (const each of shown) if (parents.get(each)?.id === id) add(each, depth + 1, at);
  };
  const roots = [...shown].filter((id) => (parents.get(id)?.id ?? null) === null);
  const modelOf = (id: string): Origin | undefined =>
    known.get(id) ?? runs.find((run) => parents.get(run.id)?.id === id);
  const models = new Map(roots.map((id) => [modelOf(id)?.model ?? '', modelOf(id)?.modelName ?? 'Base model']));
  for (const [model, name] of models) {
    const at = nodes.length;
    nodes.push({ id: model, kind: 'model', title: name, note: 'base model', depth: 0, parent: null, current: false });
    for (const id of roots) if ((modelOf(id)?.model ?? '') === model) add(id, 1, at);
  }
  return nodes;
}

function isBelow(
  id: string,
  current: readonly string[],
  parents: ReadonlyMap<string, { readonly id: string | null }>,
): boolean {
  for (let at: string | null = id; at !== null; at = parents.get(at)?.id ?? null) if (current.includes(at)) return true;
  return false;
}
