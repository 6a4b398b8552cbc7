/** @file Short trainings that measure before the long one: pilots (which way) and learning curves (enough data?). */
import { LearningCurve, Pilot } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Strategy } from '../contract/recipe.ts';
import { strategyOf } from '../contract/trains.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { resource } from '../core/resources.ts';
import type { CurveJob } from '../workers/curve.ts';
import type { PilotJob } from '../workers/pilot.ts';
import { createTrials, lessonOf, type Features } from './trials.ts';

interface Budget {
  readonly minutes: number;
  readonly tokens: number | null;
}

const general = (): string => resource('general');

type Names = 'pilots.start' | 'pilots.list' | 'pilots.show' | 'curves.start' | 'curves.list' | 'curves.show';

export function createPilots(core: Core, features: Features): { readonly handlers: Handlers<Names> } {
  const { projects, datasets } = features;
  const pilots = createTrials<Budget, PilotJob>(core, features, {
    kind: 'pilot',
    words: 'pilot',
    title: (model) => `Trying the ways on ${model}`,
    async describe(_, project, model, common) {
      const lesson = async (strategy: Strategy): Promise<PilotJob['pairs']> => {
        const dataset = datasets.newest(project, strategy);
        return dataset ? lessonOf(core, features, model, dataset) : null;
      };
      return { ...common, pairs: await lesson('instruct'), prose: await lesson('non-instruct'), general: general() };
    },
  });
  const curves = createTrials<Budget & { readonly dataset: string }, CurveJob>(core, features, {
    kind: 'curve',
    words: 'learning curve',
    title: (model) => `Trying parts of the data on ${model}`,
    async describe(request, project, model, common) {
      const dataset = datasets.show(project, request.dataset);
      const { id, name } = dataset;
      return { ...common, lesson: await lessonOf(core, features, model, dataset), dataset: { id, name } };
    },
  });

  /** Named, else the newest of the way that was chosen, else of either. */
  function datasetFor(project: string, named: string | undefined): string {
    if (named !== undefined) {
      const dataset = datasets.show(project, named);
      strategyOf(dataset);
      return dataset.id;
    }
    const first = projects.show(project).choice?.strategy === 'non-instruct' ? 'non-instruct' : 'instruct';
    const dataset =
      datasets.newest(project, first) ?? datasets.newest(project, first === 'instruct' ? 'non-instruct' : 'instruct');
    if (!dataset) throw nothingYet();
    return dataset.id;
  }

  return {
    handlers: {
      'pilots.start': ({ project, model, minutes, tokens }) => {
        projects.show(project);
        if (!datasets.newest(project, 'instruct') && !datasets.newest(project, 'non-instruct')) throw nothingYet();
        return Pilot.parse(pilots.show(pilots.start(project, model, { minutes, tokens: tokens ?? null })));
      },
      'pilots.list': ({ project }) => (projects.show(project), Pilot.array().parse(pilots.list(project))),
      'pilots.show': ({ pilot }) => Pilot.parse(pilots.show(pilot)),
      'curves.start': ({ project, model, dataset, minutes, tokens }) => {
        const request = { minutes, tokens: tokens ?? null, dataset: datasetFor(project, dataset) };
        return LearningCurve.parse(curves.show(curves.start(project, model, request)));
      },
      'curves.list': ({ project }) => (projects.show(project), LearningCurve.array().parse(curves.list(project))),
      'curves.show': ({ curve }) => LearningCurve.parse(curves.show(curve)),
    },
  };
}

const nothingYet = (): FettleError =>
  new FettleError('DATA_EMPTY', 'There is nothing to try yet.', 'Bring examples or text first.');
