/** @file The strategy guide as a service: keeps answers and the choice, measures the data, asks the rules. */
import { FettleError } from '../contract/errors.ts';
import { BaseMeasure, Choice, type Advice, type Answers, type Dataset, type Job } from '../contract/entities.ts';
import type { Way } from '../contract/recipe.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { advise } from './advise.ts';
import type { MeasureEvent, MeasureJob, MeasureResult } from '../workers/measure.ts';
import { checkAnswers, QUESTIONS } from './questions.ts';
import { measurePairs, noiseOf, proseTokensOf, type PairEvidence } from './situation.ts';

type Names = 'questions' | 'answers' | 'answer' | 'advise' | 'measure' | 'choose';
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

  const measurement = db.prepare<[string, string, string], { result: string }>(
    'SELECT result FROM measurement WHERE project = ? AND dataset_hash = ? AND model_hash = ?',
  );
  const keepMeasurement = db.prepare(
    'INSERT INTO measurement (project, dataset_hash, model_hash, result) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET result = excluded.result',
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
    const evidence =
      measured.get(key) ??
      (await measurePairs(readRows(datasets.rowsFile(project, dataset)), datasets.show(project, dataset)));
    measured.set(key, evidence);
    return evidence;
  }

  async function adviseFor(project: string, model: string | null = null, given?: Answers): Promise<Advice> {
    const shown = projects.show(project);
    if (given) checkAnswers(given);
    const pairs = datasets.newest(project, 'instruct');
    const prose = datasets.newest(project, 'non-instruct');
    const named = model ?? shown.model;
    return advise({
      answers: given ?? answers(project),
      pairs: pairs ? await pairsOf(project, pairs.id) : null,
      proseTokens: prose ? proseTokensOf(prose.words) : 0,
      noise: noiseOf([pairs, prose].filter((each) => each !== undefined)),
      model: named ? models.show(named) : null,
      measured: named && pairs ? measuredOf(project, pairs, named) : null,
    });
  }

  function measuredOf(project: string, { hash }: Dataset, model: string): BaseMeasure | null {
    const row = measurement.get(project, hash, models.show(model).hash);
    return row ? BaseMeasure.parse(JSON.parse(row.result)) : null;
  }

  /** Subject of a job: what is measured on what. */
  function startMeasuring(project: string, named: string | undefined): Job {
    const model = named ?? projects.show(project).model;
    if (!model)
      throw new FettleError('INPUT_INVALID', 'No model is chosen yet.', 'Choose one, or name it with --model.');
    const pairs = datasets.newest(project, 'instruct');
    if (!pairs)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        'There are no examples to measure the model on.',
        'Import examples first.',
      );
    const subject = `${project}/${pairs.id}/${models.show(model).id}`;
    const known = core.jobs.of('measure', subject);
    if (known && ['queued', 'starting', 'running'].includes(known.state)) return known;
    return core.jobs.enqueue({
      kind: 'measure',
      project,
      subject,
      title: `Seeing what ${models.show(model).name} already does`,
    });
  }

  core.jobs.handle('measure', async (control) => {
    const [project = '', dataset = '', model = ''] = control.job.subject.split('/');
    const { hash, id } = datasets.show(project, dataset);
    let cancelled = false;
    try {
      control.update({ state: 'running', stage: 'Loading the model' });
      const job: MeasureJob = {
        model: models.pathOf(model),
        rows: datasets.rowsFile(project, id),
        threads: core.threads,
      };
      const worker = core.workers.run<MeasureEvent, MeasureResult>('measure', job, ({ stage, share }) =>
        control.update({ stage, progress: share }),
      );
      control.onAsk(() => {
        cancelled = true;
        worker.ask('cancel');
      });
      const measured: BaseMeasure = { ...(await worker.result), model, dataset: id, at: core.clock.now() };
      keepMeasurement.run(project, hash, models.show(model).hash, JSON.stringify(measured));
      core.events.changed('strategy', project, project);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    }
  });

  async function choose(project: string, strategy: Way, reason: string): Promise<Choice> {
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
      'strategy.measure': ({ project, model }) => startMeasuring(project, model),
      'strategy.choose': (input) => choose(input.project, input.strategy, input.reason),
    },
  };
}
