/** @file What the model card and recipe.json tell of a run: lineage and figures, nothing of the data itself and nothing of this machine. */
import type { Comparison, Run } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Evaluation } from '../evaluation/index.ts';
import type { Models } from '../models/index.ts';
import type { Runs } from '../runs/index.ts';
import type { CardFacts, PublicRecipe } from './card.ts';

export interface Parts {
  readonly models: Models;
  readonly datasets: Datasets;
  readonly runs: Runs;
  readonly evaluation: Evaluation;
}

function publicRecipe({ recipe }: Run): PublicRecipe | null {
  if (recipe === null) return null;
  const { initAdapter: _, ...rest } = recipe;
  return rest;
}

/** First stage to last. */
export function stagesUnder({ over }: Run, runs: Runs): CardFacts['stages'] {
  if (!over || over.checkpoint === null) return [];
  const below = runs.show(over.run);
  const stage = {
    run: below.id,
    strategy: below.strategy,
    recipe: publicRecipe(below),
    dataHash: below.dataset === null ? null : runs.hashes(below.id).dataset,
    checkpoint: over.checkpoint,
  };
  return [...stagesUnder(below, runs), stage];
}

/** The newest finished comparison that this checkpoint took part in. */
function comparisonOf(run: Run, checkpoint: string, comparisons: readonly Comparison[]): CardFacts['comparison'] {
  const best = run.checkpoints.find((each) => each.best) ?? run.checkpoints.find((each) => each.last);
  const names = [`${run.id}@${checkpoint}`, ...(best?.name === checkpoint ? [run.id] : [])];
  for (const { result } of comparisons) {
    const self = result?.losses.findIndex(({ target }) => names.includes(target)) ?? -1;
    if (result && self >= 0) return { self, result: withoutItems(result) };
  }
  return null;
}

/** The figures without what was asked and answered: those are a person's data. */
function withoutItems(result: NonNullable<Comparison['result']>): NonNullable<Comparison['result']> {
  const bare = <T extends { readonly items: readonly unknown[] }>(part: T): T => ({
    ...part,
    items: part.items.map(() => ({ id: '', prompt: '', expected: '', answers: [] })),
  });
  const { scorecard } = result;
  return {
    ...result,
    samples: [],
    settings: [],
    scorecard: scorecard && {
      ...scorecard,
      goal: scorecard.goal && bare(scorecard.goal),
      skills: scorecard.skills.map(bare),
    },
  };
}

export function cardFacts(
  core: Core,
  run: Run,
  { checkpoint, alone, withBase }: { readonly checkpoint: string; readonly alone: boolean; readonly withBase: boolean },
  { models, datasets, runs, evaluation }: Parts,
): CardFacts {
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
    comparison: comparisonOf(run, checkpoint, evaluation.list(run.project)),
    startedFromAdapter: run.recipe?.initAdapter !== undefined,
    checkpoint: run.checkpoints.find((each) => each.name === checkpoint) ?? null,
    steps: run.step,
    tokens: run.tokens,
    heldOutLossStart: run.heldOutLossStart,
    versions: { ...run.versions, fettle: core.version },
  };
}
