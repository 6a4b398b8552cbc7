/** @file What the model card and recipe.json tell of a run: lineage and figures, nothing of the data itself and nothing of this machine. */
import type { ComparisonResult, Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Evaluation } from '../evaluation/index.ts';
import { weightsOf } from '../evaluation/targets.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import type { Generation } from '../talk/generation.ts';
import type { CardFacts, PublicRecipe } from './card.ts';

export interface Parts {
  readonly projects: Pick<Projects, 'show'>;
  readonly models: Models;
  readonly datasets: Datasets;
  readonly runs: Runs;
  readonly evaluation: Evaluation;
  readonly makeRoom: Generation['makeRoom'];
}

function publicRecipe({ recipe }: Run): PublicRecipe | null {
  if (recipe === null) return null;
  const { initAdapter: _, ...rest } = recipe;
  return rest;
}

export type Stage = CardFacts['stages'][number] & Pick<Run, 'imported'>;

/** First stage to last. */
export function stagesUnder({ over }: Run, runs: Runs): Stage[] {
  if (!over || over.checkpoint === null) return [];
  const below = runs.show(over.run);
  const stage = {
    run: below.id,
    strategy: below.strategy,
    recipe: publicRecipe(below),
    imported: below.imported,
    dataHash: below.dataset === null ? null : runs.hashes(below.id).dataset,
    checkpoint: over.checkpoint,
  };
  return [...stagesUnder(below, runs), stage];
}

/**
 * The newest finished comparison that these very weights took part in. By its name alone a run may be another one since:
 * the best of it then is not the best of it now.
 */
async function comparisonOf(
  run: Run,
  checkpoint: string,
  { evaluation, runs }: Pick<Parts, 'evaluation' | 'runs'>,
): Promise<CardFacts['comparison']> {
  const able = evaluation
    .list(run.project)
    .filter(({ state, targets }) => state === 'completed' && targets.length > 1 && targets.some(isOf(run)));
  if (able.length === 0) return null;
  const weights = await weightsOf({ adapter: runs.checkpointFolder(run, checkpoint), under: runs.under(run.id) });
  // What is gone is told of where it is written from.
  if (weights.adapter === null) return null;
  const own = JSON.stringify(weights);
  for (const { id } of able) {
    const { result } = await evaluation.show(id).catch(unreadable);
    const self = result?.models.findIndex(({ adapter, under }) => JSON.stringify({ adapter, under }) === own) ?? -1;
    if (result && self >= 0) return { self, result: withoutItems(result) };
  }
  return null;
}

const isOf =
  ({ id }: Run) =>
  (target: string): boolean =>
    target.split('@', 1)[0] === id;

/** One that a newer Fettle has kept is no reason to hand nothing over. */
function unreadable(error: unknown): { readonly result: null } {
  if (error instanceof FettleError && error.code === 'RESULT_NEWER') return { result: null };
  throw error;
}

/** The figures without what was asked and answered: those are a person's data. */
function withoutItems(result: ComparisonResult): ComparisonResult {
  const bare = <T extends { readonly items: readonly unknown[] }>(part: T): T => ({
    ...part,
    items: part.items.map(() => ({ id: '', prompt: '', expected: '', answers: [] })),
  });
  const { scorecard } = result;
  return {
    ...result,
    rows: [],
    samples: [],
    settings: [],
    scorecard: scorecard && {
      ...scorecard,
      goal: scorecard.goal && bare(scorecard.goal),
      skills: scorecard.skills.map(bare),
    },
  };
}

export async function cardFacts(
  core: Core,
  run: Run,
  { checkpoint, alone, withBase }: { readonly checkpoint: string; readonly alone: boolean; readonly withBase: boolean },
  parts: Parts,
): Promise<CardFacts> {
  const { models, datasets, runs } = parts;
  const model = models.show(run.model);
  const data = run.dataset === null ? null : datasets.show(run.project, run.dataset);
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
    imported: run.imported,
    advice: run.advice && { strategy: run.advice.strategy, summary: run.advice.summary },
    choice: run.choice && { reason: run.choice.reason, overruled: run.choice.overruled },
    data: data && {
      kind: data.kind,
      trainRows: data.trainRows,
      heldOutRows: data.heldOutRows,
      words: data.words,
      hash: data.hash,
    },
    recipe: publicRecipe(run),
    stages: stagesUnder(run, runs),
    alone,
    withBase,
    comparison: await comparisonOf(run, checkpoint, parts),
    startedFromAdapter: run.recipe?.initAdapter !== undefined,
    checkpoint: run.checkpoints.find((each) => each.name === checkpoint) ?? null,
    steps: run.step,
    tokens: run.tokens,
    heldOutLossStart: run.heldOutLossStart,
    versions: { ...run.versions, fettle: core.version },
  };
}
