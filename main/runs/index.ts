/** @file Runs: plan, start, watch, pause, resume, stop, continue, clone, delete. The only writer of table run. */
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ParsedInputOf } from '../contract/api.ts';
import { choiceFrom, type Advice, type Choice, type Job, type Model, type Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { Recipe, type Strategy, type Way } from '../contract/recipe.ts';
import { isActive, isResumable, type JobState } from '../contract/training.ts';
import type { Ask, Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import { runtimeVersion } from '../engine/version.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Chosen, Devices } from '../recipes/devices.ts';
import { estimate } from '../recipes/estimate.ts';
import { measureRows } from '../recipes/index.ts';
import { needsExact, type ModelSize } from '../recipes/memory.ts';
import type { StrategyService } from '../strategy/index.ts';
import { createCalibrations, type Tried } from './calibrate.ts';
import { checkpointsOf } from './folders.ts';
import { createHistory } from './history.ts';
import { createImports } from './import.ts';
import { checkMemory, createPlanner, type PlanRequest } from './plan.ts';
import { createRunTable, trained, type NewRun, type RunRow, type TrainedRow } from './table.ts';
import type { MeasuredSpeeds } from '../recipes/speeds.ts';
import { checkpointNamed, handleTraining, tellEnd } from './train.ts';

type Names =
  | 'plan'
  | 'calibrate'
  | 'start'
  | 'clone'
  | 'list'
  | 'show'
  | 'events'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'cancel'
  | 'continue'
  | 'delete'
  | 'import';
export interface Runs {
  readonly handlers: Handlers<`runs.${Names}`>;
  /** @throws RUN_NOT_FOUND */
  show(id: string): Run;
  has(id: string): boolean;
  /** The model's and the data's hashes that it was started with. */
  /** Asks a run to pause, stop or be cancelled, and writes down how one that does not work at the moment ended. */
  ask(id: string, what: Ask): Run;
  /** Folders of the adapters that it stands on, first stage to last. */
  under(id: string): string[];
  hashes(id: string): { readonly model: string; readonly dataset: string | null };
  /** Absolute folder of one of its checkpoints. */
  checkpointFolder(run: Run, checkpoint: string): string;
}

export function createRuns(
  core: Core,
  parts: {
    readonly projects: Projects;
    readonly models: Models;
    readonly datasets: Datasets;
    readonly strategy: StrategyService;
    readonly speeds: MeasuredSpeeds;
    readonly devices: Devices;
  },
): Runs {
  const { projects, models, datasets, strategy, speeds, devices } = parts;
  const history = createHistory(core.db);
  const table = createRunTable(core, history);
  const deviceFor = async ({ recipe, model }: Tried): Promise<Chosen> => devices.choose(recipe, await sized(model));
  const calibrations = createCalibrations(core, { models, datasets, checkMemory: checkMemoryNow, deviceFor });
  const planner = createPlanner(core, { models, datasets, strategy, history, speeds, calibrations });
  const show = (id: string): Run => table.view(table.row(id));

  function under({ over_run: first, over_checkpoint: checkpoint }: RunRow): string[] {
    if (first === null || checkpoint === null) return [];
    const row = table.row(first);
    return [...under(row), join(checkpointsOf(core.home.run(row.project, row.id)), checkpoint)];
  }

  async function sized(model: string): Promise<Model & ModelSize> {
    return { ...models.show(model), spec: await models.spec(model) };
  }

  async function checkMemoryNow({ project, ...tried }: Tried): Promise<void> {
    const dataset = datasets.show(project, tried.dataset);
    const size = await measureRows(readRows(datasets.rowsFile(project, dataset.id)), dataset.rows);
    const model = await sized(tried.model);
    checkMemory(estimate(tried.recipe, model, size, await planner.free(model, dataset)));
  }
  const training = handleTraining(core, {
    table,
    history,
    models,
    datasets,
    checkMemory: checkMemoryNow,
    deviceFor,
    under,
  });

  const imports = createImports(core, { table, models, projects });

  /** Puts a run into the queue and says so. */
  function queue(run: RunRow, title: string): Run {
    training.enqueue(run, title);
    core.events.publish(`run:${run.id}`, { type: 'state', state: 'queued' });
    core.events.changed('run', run.id, run.project);
    core.events.changed('project', run.project, run.project);
    return show(run.id);
  }

  /** @throws PROJECT_NOT_FOUND, MODEL_NOT_FOUND, DATASET_NOT_FOUND, RUN_NOT_FOUND where it was deleted while this was planned */
  function begin(run: NewRun): Run {
    projects.show(run.project);
    models.show(run.model);
    if (run.dataset !== null) datasets.show(run.project, run.dataset);
    if (run.over_run !== null) table.row(run.over_run);
    const added = table.add(run);
    mkdirSync(core.home.run(added.project, added.id), { recursive: true });
    return queue(added, `Training run ${added.number}`);
  }

  /** Non-instruct on the prose, and over it instruct on the examples: it waits in the queue behind the first. */
  async function startStaged(
    { dataset, ...request }: PlanRequest,
    stages: ParsedInputOf<'runs.start'>['stages'],
  ): Promise<Run> {
    if (dataset !== undefined)
      throw new FettleError(
        'INPUT_INVALID',
        'Both stages together take the newest text and the newest examples.',
        'Leave the dataset out, or start the stages one by one with --over.',
      );
    projects.show(request.project);
    const stage = (strategy: Strategy): PlanRequest => ({
      ...request,
      strategy,
      set: { ...request.set, ...stages[strategy] },
    });
    const first = stage('non-instruct');
    const second = stage('instruct');
    // What keeps the second from being started should be known before the first has run for hours.
    planner.check(await planner.plan(second));
    const run = await start(first, null, 'staged');
    await start(second, { run: run.id, checkpoint: null }, 'staged');
    return run;
  }

  /**
   * The best checkpoint of a run that is at work is not known yet: the run over it waits for it.
   * @throws RUN_NOT_FOUND, CHECKPOINT_NOT_FOUND, INPUT_INVALID for another model or project, RUN_STATE where the named
   * checkpoint may still be removed.
   */
  function overOf(target: string, { project, model }: PlanRequest): NonNullable<Run['over']> {
    const [id = '', named] = target.split('@', 2);
    const first = show(id);
    if (first.project !== project)
      throw new FettleError('INPUT_INVALID', `Run ${id} belongs to another project.`, 'Name a run of this project.');
    if (first.model !== model)
      throw new FettleError(
        'INPUT_INVALID',
        `Run ${id} was trained on ${first.modelName}.`,
        `Use --model ${first.model}.`,
      );
    const atWork = isActive(first.state);
    if (atWork && named !== undefined)
      throw new FettleError(
        'RUN_STATE',
        `Run ${id} is ${first.state}, and its checkpoints are not settled.`,
        `Name ${id} alone: the run over it then waits for its best.`,
      );
    return { run: id, checkpoint: atWork ? null : checkpointNamed(id, first.checkpoints, named).name };
  }

  /**
   * @param way what was asked for: both stages of a staged plan are asked for as staged. Undefined: what the project chose.
   */
  async function start(request: PlanRequest, over: Run['over'], way: Way | undefined): Promise<Run> {
    projects.show(request.project);
    // Looking for a graphics processor takes a process of its own, which starts while this one plans; the job will ask for it.
    if (request.set['device'] !== 'cpu') void devices.graphics();
    const planned = await planner.plan(request);
    planner.check(planned);
    const { plan, model, dataset } = planned;
    const advice = await strategy.advise(request.project, model.id);
    return begin({
      project: request.project,
      model: model.id,
      model_name: model.name,
      model_hash: model.hash,
      dataset: dataset.id,
      dataset_name: dataset.name,
      dataset_hash: dataset.hash,
      strategy: plan.recipe.strategy,
      recipe: plan.recipe,
      imported: null,
      cloned_from: null,
      over_run: over?.run ?? null,
      over_checkpoint: over?.checkpoint ?? null,
      advice,
      choice: choiceOf(request.project, way, advice),
      versions: versions(core.version),
    });
  }

  /** The project's choice, or where this run goes another way, that. */
  function choiceOf(project: string, way: Way | undefined, { strategy: advised }: Advice): Choice | null {
    const chosen = strategy.choice(project);
    if (way === undefined || chosen?.strategy === way) return chosen;
    return choiceFrom({ strategy: way, reason: '', advised, at: core.clock.now() });
  }

  async function calibrate(request: PlanRequest): Promise<Job> {
    projects.show(request.project);
    const planned = await planner.plan(request);
    planner.check(planned);
    return calibrations.start(request.project, planned.model, planned.dataset, planned.plan.recipe);
  }

  async function clone(id: string, set: Readonly<Record<string, unknown>>): Promise<Run> {
    const from = trained(table.row(id));
    const planned = await planner.plan({
      project: from.project,
      model: from.model,
      dataset: from.dataset,
      strategy: from.strategy,
      // What needs the model's own weights settles the precision anew, unless it was given.
      set: { ...from.recipe, ...(needsExact(set) ? { precision: 'auto' } : {}), ...set, strategy: from.strategy },
    });
    planner.check(planned);
    return begin({
      ...from,
      model_hash: planned.model.hash,
      dataset_hash: planned.dataset.hash,
      recipe: planned.plan.recipe,
      cloned_from: from.id,
      versions: versions(core.version),
    });
  }

  function ask(id: string, what: Ask): Run {
    const run = table.row(id);
    const job = core.jobs.of('train', id);
    // A paused or interrupted run has no process to ask; stopping or cancelling it settles its row.
    const waiting = what !== 'pause' && job !== undefined && isResumable(job.state) && job.state !== 'failed';
    if (!job || !(isActive(job.state) || waiting))
      throw state(
        run,
        job?.state,
        `so it cannot be ${{ pause: 'paused', stop: 'stopped', cancel: 'cancelled' }[what]}`,
      );
    const asked = core.jobs.ask(job.id, what);
    if (waiting) tellEnd(core, { table, history }, run, asked, null);
    else if (isActive(asked.state)) core.events.publish(`run:${id}`, { type: 'state', state: asked.state });
    core.events.changed('run', id, run.project);
    return show(id);
  }

  function resume(id: string): Run {
    const run = trained(table.row(id));
    const job = core.jobs.of('train', id);
    if (job && !isResumable(job.state)) throw state(run, job.state, 'so there is nothing to resume');
    sameParts(run);
    return queue(run, `Training run ${run.number}`);
  }

  /** A stage that another stands on stays as it is. */
  function free(run: RunRow, what: string): void {
    const [above] = table.over(run.id);
    if (above)
      throw new FettleError(
        'RUN_STATE',
        `Run ${above.id} stands on run ${run.id}, so it cannot be ${what}.`,
        `Delete run ${above.id} first, or clone this one.`,
      );
  }

  function goOn(id: string, more: { readonly epochs?: number | undefined; readonly steps?: number | undefined }): Run {
    const run = trained(table.row(id));
    const job = core.jobs.of('train', id);
    if (job?.state !== 'completed' && job?.state !== 'cancelled')
      throw state(run, job?.state, 'and only a finished run goes on; resume it instead');
    if (more.epochs !== undefined && more.steps !== undefined)
      throw new FettleError('INPUT_INVALID', 'Name epochs or steps, not both.', 'Leave one of them out.');
    const last = history.figures(id).checkpoints.at(-1);
    if (!last)
      throw new FettleError('CHECKPOINT_NOT_FOUND', `Run ${id} has saved nothing to go on from.`, 'Start a new run.');
    sameParts(run);
    free(run, 'continued');
    const { maxSteps: _, ...rest } = run.recipe;
    // Counted from where it goes on: a run that was cancelled had gone a little further than its last checkpoint.
    const longer = Recipe.safeParse(
      more.steps !== undefined
        ? { ...run.recipe, maxSteps: last.step + more.steps }
        : { ...rest, epochs: history.epochAt(id, last.step) + (more.epochs ?? 1) },
    );
    if (!longer.success)
      throw new FettleError('RECIPE_INVALID', `A run of that length is too long.`, 'Ask for fewer epochs or steps.');
    table.setRecipe(id, longer.data);
    return queue(table.row(id), `Continuing run ${run.number}`);
  }

  /** A run goes on only with the model and the data it began with. */
  function sameParts(run: TrainedRow): void {
    if (models.show(run.model).hash !== run.model_hash)
      throw new FettleError(
        'RUN_STATE',
        `The model ${run.model_name} is not the one this run began with.`,
        'Start a new run.',
      );
    datasets.show(run.project, run.dataset);
  }

  async function remove(id: string): Promise<{ ok: true }> {
    const run = table.row(id);
    free(run, 'deleted');
    core.inUse.check('RUN_IN_USE', `run ${run.number}`, [`run:${id}`]);
    table.remove(id);
    await rm(core.home.run(run.project, id), { recursive: true, force: true });
    core.events.changed('run', id, run.project);
    core.events.changed('project', run.project, run.project);
    return { ok: true };
  }

  const requested = (input: {
    recipe?: Readonly<Record<string, unknown>> | undefined;
    set: Readonly<Record<string, unknown>>;
  }): Record<string, unknown> => ({
    ...input.recipe,
    ...input.set,
  });

  return {
    show,
    ask,
    has: (id) => core.db.prepare('SELECT 1 FROM run WHERE id = ?').get(id) !== undefined,
    under: (id) => under(table.row(id)),
    hashes: (id) => ({ model: table.row(id).model_hash, dataset: table.row(id).dataset_hash }),
    checkpointFolder: (run, checkpoint) => join(checkpointsOf(core.home.run(run.project, run.id)), checkpoint),
    handlers: {
      'runs.plan': async (input) => (projects.show(input.project), (await planner.plan(input)).plan),
      'runs.calibrate': calibrate,
      'runs.start': ({ over, strategy, stages, ...input }) => {
        const request = { ...input, set: requested(input) };
        return strategy === 'staged'
          ? startStaged(request, stages)
          : over === undefined
            ? start({ ...request, strategy }, null, strategy)
            : start({ ...request, strategy }, overOf(over, request), 'staged');
      },
      'runs.clone': (input) => clone(input.run, input.set),
      'runs.list': (input) => {
        if (input.project !== undefined) projects.show(input.project);
        return table.rows(input.project).map(table.view);
      },
      'runs.show': (input) => show(input.run),
      'runs.events': (input) => (table.row(input.run), history.events(input.run, input.after, input.limit)),
      'runs.pause': (input) => ask(input.run, 'pause'),
      'runs.resume': (input) => resume(input.run),
      'runs.stop': (input) => ask(input.run, 'stop'),
      'runs.cancel': (input) => ask(input.run, 'cancel'),
      'runs.continue': (input) => goOn(input.run, input),
      'runs.delete': (input) => remove(input.run),
      'runs.import': imports.start,
    },
  };
}

const state = (run: RunRow, is: JobState | undefined, so: string): FettleError =>
  new FettleError(
    'RUN_STATE',
    `Run ${run.id} is ${is ?? 'not started'}, ${so}.`,
    'Look at it with `fettle run show`.',
    {
      details: { state: is ?? null },
    },
  );

/** What a run was made with, enough to make it again. */
const versions = (fettle: string): Record<string, string> => ({
  fettle,
  node: process.versions.node,
  'onnxruntime-node': runtimeVersion(),
  platform: `${process.platform}-${process.arch}`,
});
