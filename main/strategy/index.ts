/** @file The strategy guide as a service: keeps answers and the choice, measures the data, asks the rules. */
import { FettleError } from '../contract/errors.ts';
import {
  BaseMeasure,
  choiceFrom,
  ProseMeasure,
  type Advice,
  type Answers,
  type Choice,
  type Dataset,
  type Job,
  type Model,
} from '../contract/entities.ts';
import type { Way } from '../contract/recipe.ts';
import { trainsBy } from '../contract/trains.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { advise } from './advise.ts';
import type { MeasureEvent, MeasureJob, MeasureResult } from '../workers/measure.ts';
import { checkAnswers, QUESTIONS } from './questions.ts';
import { measureProse, type ProseEvidence } from './prose.ts';
import { asideOf, measurePairs, noiseOf, proseTokensOf, type PairEvidence } from './situation.ts';

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
  /** Datasets never change, so what was measured stays true. By project and the dataset's hash. */
  const evidenceOfPairs = new Map<string, Promise<PairEvidence>>();
  const evidenceOfProse = new Map<string, Promise<ProseEvidence>>();
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
    return row ? choiceFrom(row) : null;
  };

  /** Two who ask at once wait for one reading; what failed is tried again. */
  function once<T>(cache: Map<string, Promise<T>>, key: string, read: () => Promise<T>): Promise<T> {
    const known = cache.get(key);
    if (known) return known;
    const reading = read();
    cache.set(key, reading);
    reading.catch(() => cache.delete(key));
    return reading;
  }
  const rowsOf = (project: string, { id }: Dataset): AsyncGenerator<StoredRow> =>
    readRows(datasets.rowsFile(project, id));
  const pairsOf = (project: string, dataset: Dataset): Promise<PairEvidence> =>
    once(evidenceOfPairs, `${project}/${dataset.hash}`, () => measurePairs(rowsOf(project, dataset), dataset));
  const proseOf = (project: string, dataset: Dataset): Promise<ProseEvidence> =>
    once(evidenceOfProse, `${project}/${dataset.hash}`, () => measureProse(rowsOf(project, dataset), dataset.words));

  async function adviseFor(project: string, model: string | null = null, given?: Answers): Promise<Advice> {
    const shown = projects.show(project);
    if (given) checkAnswers(given);
    const pairs = datasets.newest(project, 'instruct');
    const prose = datasets.newest(project, 'non-instruct');
    const named = model ?? shown.model;
    const chosenModel = named ? models.show(named) : null;
    return advise({
      answers: given ?? answers(project),
      pairs: pairs ? await pairsOf(project, pairs) : null,
      proseTokens: prose ? proseTokensOf(prose.words) : 0,
      prose: prose ? await proseOf(project, prose) : null,
      noise: noiseOf([pairs, prose].filter((each) => each !== undefined)),
      model: chosenModel,
      measured: measuredPairs(project, pairs, chosenModel),
      measuredProse: measuredProse(project, prose, chosenModel),
      aside: [pairs, prose].flatMap((counted) => {
        const alike = datasets.list(project).filter(({ kind }) => counted && trainsBy(kind) === trainsBy(counted.kind));
        return asideOf(alike, counted);
      }),
    });
  }

  /** What a job of measuring works on. */
  interface Subject {
    readonly pairs: Dataset | undefined;
    readonly prose: Dataset | undefined;
    readonly model: Model;
  }

  /** The result kept for this content and these weights, whatever they are called by now. */
  function kept(project: string, dataset: Dataset | undefined, model: Model | null): unknown {
    const row = dataset && model ? measurement.get(project, dataset.hash, model.hash) : undefined;
    return row ? JSON.parse(row.result) : null;
  }
  const measuredPairs = (project: string, dataset: Dataset | undefined, model: Model | null): BaseMeasure | null =>
    BaseMeasure.nullable().parse(kept(project, dataset, model));
  const measuredProse = (project: string, dataset: Dataset | undefined, model: Model | null): ProseMeasure | null =>
    ProseMeasure.nullable().parse(kept(project, dataset, model));

  function measurable(project: string, named: string | undefined): Subject {
    const id = named ?? projects.show(project).model;
    if (!id) throw new FettleError('INPUT_INVALID', 'No model is chosen yet.', 'Choose one, or name it with --model.');
    const model = models.show(id);
    const held = (dataset: Dataset | undefined): Dataset | undefined =>
      dataset && dataset.heldOutRows > 0 ? dataset : undefined;
    const pairs = held(datasets.newest(project, 'instruct'));
    const prose = held(datasets.newest(project, 'non-instruct'));
    if (!pairs && !prose)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        'There is nothing held out to measure the model on.',
        'Import examples or text first.',
      );
    return { pairs, prose, model };
  }

  /** What was not measured yet; all of it where everything was, since then it is asked for again. */
  function open(project: string, { pairs, prose, model }: Subject): Subject {
    const left = {
      pairs: measuredPairs(project, pairs, model) ? undefined : pairs,
      prose: measuredProse(project, prose, model) ? undefined : prose,
      model,
    };
    return left.pairs || left.prose ? left : { pairs, prose, model };
  }

  /** Subject of a job: project, examples, prose and model. */
  function startMeasuring(project: string, named: string | undefined): Job {
    const { pairs, prose, model } = open(project, measurable(project, named));
    const subject = [project, pairs?.id ?? '', prose?.id ?? '', model.id].join('/');
    const known = core.jobs.of('measure', subject);
    if (known && ['queued', 'starting', 'running'].includes(known.state)) return known;
    return core.jobs.enqueue({
      kind: 'measure',
      project,
      subject,
      title: `Seeing what ${model.name} already does`,
    });
  }

  core.jobs.handle('measure', async (control) => {
    const [project = '', pairsId = '', proseId = '', modelId = ''] = control.job.subject.split('/');
    const pairs = pairsId === '' ? null : datasets.show(project, pairsId);
    const prose = proseId === '' ? null : datasets.show(project, proseId);
    const model = models.show(modelId);
    let cancelled = false;
    try {
      control.update({ state: 'running', stage: 'Loading the model' });
      const job: MeasureJob = {
        model: models.pathOf(model.id),
        pairs: pairs && datasets.rowsFile(project, pairs.id),
        prose: prose && datasets.rowsFile(project, prose.id),
        threads: core.threads,
      };
      const worker = core.workers.run<MeasureEvent, MeasureResult>('measure', job, ({ stage, share }) =>
        control.update({ stage, progress: share }),
      );
      control.onAsk(() => {
        cancelled = true;
        worker.ask('cancel');
      });
      const result = await worker.result;
      const of = (dataset: Dataset): Pick<BaseMeasure, 'model' | 'dataset' | 'at'> => ({
        model: model.id,
        dataset: dataset.id,
        at: core.clock.now(),
      });
      const keep = ({ hash }: Dataset, measure: BaseMeasure | ProseMeasure): unknown =>
        keepMeasurement.run(project, hash, model.hash, JSON.stringify(measure));
      if (pairs && result.pairs) keep(pairs, { ...result.pairs, ...of(pairs) });
      if (prose && result.prose) keep(prose, { ...result.prose, ...of(prose) });
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
