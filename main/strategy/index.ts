/** @file The strategy guide as a service: keeps answers and the choice, measures the data, asks the rules. */
import { FettleError } from '../contract/errors.ts';
import { Choice, type Advice, type Answers } from '../contract/entities.ts';
import { trainsBy } from '../contract/trains.ts';
import type { Strategy } from '../contract/recipe.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { advise } from './advise.ts';
import { checkAnswers, QUESTIONS } from './questions.ts';
import { measurePairs, noiseOf, proseTokensOf, type PairEvidence } from './situation.ts';

type Names = 'questions' | 'answers' | 'answer' | 'advise' | 'choose';
export interface StrategyService {
  readonly handlers: Handlers<`strategy.${Names}`>;
  answers(project: string): Answers;
  /** Null model: the project's chosen one, where there is one. `answers` in place of those kept, for a look ahead. */
  advise(project: string, model?: string | null, answers?: Answers): Promise<Advice>;
  choice(project: string): Choice | null;
}

export function createStrategy(
  core: Core,
  parts: { readonly projects: Projects; readonly datasets: Datasets; readonly models: Models },
): StrategyService {
  const { db } = core;
  const { projects, datasets, models } = parts;
  /** Datasets never change, so what was measured stays true. By project and dataset id. */
  const measured = new Map<string, PairEvidence>();
  const answered = db.prepare<[string], { question: string; value: string }>(
    'SELECT question, value FROM answer WHERE project = ? ORDER BY question',
  );
  const chosen = db.prepare<[string], { strategy: string; reason: string; advised: string; at: string }>(
    'SELECT strategy, reason, advised, at FROM choice WHERE project = ?',
  );

  const answers = (project: string): Answers =>
    Object.fromEntries(answered.all(project).map(({ question, value }) => [question, value]));

  const choice = (project: string): Choice | null => {
    const row = chosen.get(project);
    // Either stage of a staged plan follows the advice.
    return row ? Choice.parse({ ...row, overruled: row.advised !== 'staged' && row.advised !== row.strategy }) : null;
  };

  async function pairsOf(project: string, dataset: string): Promise<PairEvidence> {
    const key = `${project}/${dataset}`;
    const evidence = measured.get(key) ?? (await measurePairs(readRows(datasets.rowsFile(project, dataset))));
    measured.set(key, evidence);
    return evidence;
  }

  async function adviseFor(project: string, model: string | null = null, given?: Answers): Promise<Advice> {
    const shown = projects.show(project);
    if (given) checkAnswers(given);
    // The newest version of each kind: older ones are the same data before it was changed.
    const all = datasets.list(project).toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
    const pairs = all.find((dataset) => trainsBy(dataset.kind) === 'instruct');
    const prose = all.find((dataset) => trainsBy(dataset.kind) === 'non-instruct');
    const named = model ?? shown.model;
    return advise({
      answers: given ?? answers(project),
      pairs: pairs ? await pairsOf(project, pairs.id) : null,
      proseTokens: prose ? proseTokensOf(prose.words) : 0,
      noise: noiseOf([pairs, prose].filter((each) => each !== undefined)),
      model: named ? models.show(named) : null,
    });
  }

  async function choose(project: string, strategy: Strategy, reason: string): Promise<Choice> {
    const advised = (await adviseFor(project)).strategy;
    db.prepare(
      `INSERT INTO choice (project, strategy, reason, advised, at) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (project) DO UPDATE SET strategy = excluded.strategy, reason = excluded.reason, advised = excluded.advised, at = excluded.at`,
    ).run(project, strategy, reason, advised, core.clock.now());
    core.events.changed('strategy', project, project);
    const kept = choice(project);
    if (!kept) throw new FettleError('INTERNAL', 'The choice was not kept.');
    return kept;
  }

  function keep(project: string, given: Answers): Answers {
    projects.show(project);
    // An empty value takes an answer back.
    checkAnswers(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== '')));
    const put = db.prepare(
      'INSERT INTO answer (project, question, value) VALUES (?, ?, ?) ON CONFLICT (project, question) DO UPDATE SET value = excluded.value',
    );
    const remove = db.prepare('DELETE FROM answer WHERE project = ? AND question = ?');
    db.transaction(() => {
      for (const [question, value] of Object.entries(given))
        if (value === '') remove.run(project, question);
        else put.run(project, question, value);
    })();
    core.events.changed('strategy', project, project);
    return answers(project);
  }

  return {
    answers,
    advise: adviseFor,
    choice,
    handlers: {
      'strategy.questions': () => [...QUESTIONS],
      'strategy.answers': ({ project }) => (projects.show(project), answers(project)),
      'strategy.answer': (input) => keep(input.project, input.answers),
      'strategy.advise': (input) => adviseFor(input.project, input.model ?? null, input.answers),
      'strategy.choose': (input) => choose(input.project, input.strategy, input.reason),
    },
  };
}
