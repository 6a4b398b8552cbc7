/** @file What may be asked and compared in a project: base models, runs, their checkpoints, each with its name. */
import type { Model, Run } from '../../../main/contract/entities.ts';
import { count } from '../../ui/format.ts';

export interface TargetName {
  /** As the contract takes it: a model, a run, or `run@checkpoint`. */
  readonly target: string;
  readonly label: string;
  readonly note: string;
}

/** Runs that have learned something, newest first, then the base models that they rest on, then the others. */
export function targetsOf(
  runs: readonly Run[],
  models: readonly Model[],
  { checkpoints = false }: { readonly checkpoints?: boolean } = {},
): TargetName[] {
  const able = runs.filter((run) => run.checkpoints.length > 0).toSorted((a, b) => b.number - a.number);
  const bases = new Set(able.map((run) => run.model));
  return [
    ...able.flatMap((run) => [
      {
        target: run.id,
        label: run.imported ? `Run ${run.number}, ${run.imported.name}` : `Run ${run.number}`,
        note: run.imported ? 'made elsewhere' : run.best ? `best, step ${count(run.best.step)}` : 'last checkpoint',
      },
      ...(checkpoints
        ? run.checkpoints
            .filter((each) => !each.best && !run.imported)
            .map((each) => ({
              target: `${run.id}@${each.name}`,
              label: `Run ${run.number}, step ${count(each.step)}`,
              note: 'checkpoint',
            }))
        : []),
    ]),
    ...models
      .toSorted((a, b) => Number(bases.has(b.id)) - Number(bases.has(a.id)))
      .map((model) => ({ target: model.id, label: model.name, note: bases.has(model.id) ? 'base' : model.kind.value })),
  ];
}

/** The run behind a target, where it is one. */
export const runOf = (target: string, runs: readonly Run[]): Run | undefined =>
  runs.find((run) => run.id === target.split('@', 1)[0]);

/** The data that are measured on when nobody chose: those of the first run among the targets. */
export const dataFor = (targets: readonly string[], runs: readonly Run[]): string | null =>
  targets.map((target) => runOf(target, runs)).find((run) => run !== undefined)?.dataset ?? null;

/** What is compared when nobody chose: the newest run against its base model. */
export function usualPair(runs: readonly Run[], models: readonly Model[]): [string, string] | null {
  const run = runs.filter((each) => each.checkpoints.length > 0).toSorted((a, b) => b.number - a.number)[0];
  return run && models.some((model) => model.id === run.model) ? [run.model, run.id] : null;
}
