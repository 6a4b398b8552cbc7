/** @file The report for the desk: gathers what is known of a run and its comparison, and writes it as one HTML document. */
import type { BlindTest, Comparison, LearningCurve, Run, TrainedRun } from '../../contract/entities.ts';
import { curveFor } from '../../contract/curves.ts';
import { FettleError } from '../../contract/errors.ts';
import { lineageOf } from '../../contract/lineage.ts';
import type { Core } from '../../core/context.ts';
import type { Handlers } from '../../core/router.ts';
import type { Datasets } from '../../datasets/index.ts';
import type { Exports } from '../../exports/index.ts';
import type { Models } from '../../models/index.ts';
import type { Projects } from '../../projects/index.ts';
import type { Runs } from '../../runs/index.ts';
import type { Evaluation } from '../index.ts';
import { deskPage, type DeskFacts } from './page.ts';

interface Parts {
  readonly projects: Pick<Projects, 'show'>;
  readonly models: Models;
  readonly datasets: Datasets;
  readonly runs: Runs;
  readonly evaluation: Evaluation;
  readonly exports: Pick<Exports, 'handlers'>;
  readonly curves: (project: string) => Promise<LearningCurve[]>;
  /** Blind tests of a project, newest first. */
  readonly blind: (project: string) => Promise<BlindTest[]>;
}

/** Points of the training curve that the drawing holds. */
const POINTS = 400;

export function createDesk(core: Core, parts: Parts): { readonly handlers: Handlers<'evaluation.report'> } {
  const { projects, models, datasets, runs, evaluation, exports, curves, blind } = parts;

  /** Named, else the newest in which the run was measured against another; against its base before any other. */
  async function comparisonOf(run: Run, named: string | undefined): Promise<Comparison> {
    if (named !== undefined) return evaluation.show(named);
    const done = evaluation.list(run.project).filter(({ state }) => state === 'completed');
    const able = done.filter(({ targets }) => indexOf(run, targets.slice(1)) >= 0);
    const found = able.find(({ targets }) => targets[0] === run.model) ?? able[0];
    if (found) return evaluation.show(found.id);
    throw new FettleError(
      'INPUT_INVALID',
      done.some(({ targets }) => indexOf(run, targets) >= 0)
        ? `Run ${run.number} was only measured alone or as the first, which others are compared with, so there is no difference of its own to report.`
        : `Run ${run.number} was not compared yet, so there is nothing to report.`,
      `Compare it with its base first: \`fettle compare ${run.model} ${run.id} --suite held-out --suite task --suite general --suite prose\`.`,
    );
  }

  async function report(id: string, named: string | undefined): Promise<{ html: string; name: string }> {
    const run = trainedHere(runs.show(id));
    const comparison = await comparisonOf(run, named);
    const { result } = comparison;
    const which = indexOf(run, comparison.targets.slice(1));
    if (!result || which < 0)
      throw new FettleError(
        'INPUT_INVALID',
        result
          ? `Comparison ${comparison.id} does not measure run ${run.number} against another.`
          : `Comparison ${comparison.id} is ${comparison.state}.`,
        'Name one that is done and measures it: --comparison.',
      );
    const { events } = await runs.handlers['runs.events']({ run: id, after: 0, limit: POINTS });
    const steps = events.flatMap(({ event }) => (event.type === 'step' ? [event] : []));
    const evals = events.flatMap(({ event }) => (event.type === 'eval' ? [event] : []));
    const project = projects.show(run.project);
    const facts: DeskFacts = {
      project,
      run,
      model: (await models.handlers['models.list']({})).find(({ id }) => id === run.model) ?? null,
      dataset: datasets.list(run.project).find((each) => each.id === run.dataset) ?? null,
      comparison: { ...comparison, result },
      which,
      curve: curveFor(run.strategy, await curves(run.project)),
      blind:
        (await blind(run.project)).find(
          ({ reveal }) =>
            reveal &&
            indexOf(
              run,
              reveal.models.map(({ target }) => target),
            ) >= 0,
        ) ?? null,
      unseen: { steps: evals.map(({ step }) => step), losses: evals.map(({ loss }) => loss) },
      training: { steps: steps.map(({ step }) => step), losses: steps.map(({ loss }) => loss) },
      lineage: lineageOf([id], await runs.handlers['runs.list']({ project: run.project })),
      exports: (await exports.handlers['exports.list']({ project: run.project })).filter(
        (each) => each.run === id && each.proof !== null,
      ),
      at: core.clock.now(),
      version: core.version,
    };
    return { html: deskPage(facts), name: `${run.id}-report.html` };
  }

  return { handlers: { 'evaluation.report': ({ run, comparison }) => report(run, comparison) } };
}

/** @throws INPUT_INVALID where there is nothing to tell of how it was tuned */
function trainedHere(run: Run): TrainedRun {
  const { dataset, datasetName, strategy, recipe } = run;
  if (dataset !== null && datasetName !== null && strategy !== null && recipe !== null)
    return { ...run, dataset, datasetName, strategy, recipe };
  throw new FettleError(
    'INPUT_INVALID',
    `Run ${run.number} was made elsewhere: neither its data nor its recipe are here to report on.`,
    'Its comparisons show what was measured of it.',
  );
}

/** Its place among targets, whatever checkpoint was measured; -1 where it is none of them. */
const indexOf = ({ id }: Run, targets: readonly string[]): number =>
  targets.findIndex((target) => target.split('@', 1)[0] === id);
