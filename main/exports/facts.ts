/** @file What the model card and recipe.json tell of a run: lineage and figures, nothing of the data itself and nothing of this machine. */
import type { ComparisonResult, Run } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Evaluation } from '../evaluation/index.ts';
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

/** The newest finished comparison that this checkpoint took part in. */
async function comparisonOf(run: Run, checkpoint: string, evaluation: Evaluation): Promise<CardFacts['comparison']> {
  const best = run.checkpoints.find((each) => each.best) ?? run.checkpoints.find((each) => each.last);
  const names = [`${run.id}@${checkpoint}`, ...(best?.name === checkpoint ? [run.id] : [])];
  const able = evaluation.list(run.project).find(({ state, targets }) => {
    return state === 'completed' && targets.length > 1 && targets.some((target) => names.includes(target));
  });
  const result = able && (await evaluation.show(able.id)).result;
  if (!able || !result) return null;
  return { self: able.targets.findIndex((target) => names.includes(target)), result: withoutItems(result) };
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
  { models, datasets, runs, evaluation }: Parts,
): Promise<CardFacts> {
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
    comparison: await comparisonOf(run, checkpoint, evaluation),
    startedFromAdapter: run.recipe?.initAdapter !== undefined,
    checkpoint: run.checkpoints.find((each) => each.name === checkpoint) ?? null,
    steps: run.step,
    tokens: run.tokens,
    heldOutLossStart: run.heldOutLossStart,
    versions: { ...run.versions, fettle: core.version },
  };
}
