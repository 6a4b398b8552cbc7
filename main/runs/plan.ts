/** @file Before a run: which strategy, which data, which recipe, and whether it can be done at all. */
import { isAbsolute, resolve } from 'node:path';
import { bytes as inWords } from '../contract/bytes.ts';
import type { Dataset, Model, Plan } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { strategyOf, trainsBy } from '../contract/trains.ts';
import { Recipe, Strategy } from '../contract/recipe.ts';
import type { Core } from '../core/context.ts';
import { availableMemory } from '../core/memory.ts';
import type { Datasets } from '../datasets/index.ts';
import { readRows } from '../datasets/rows.ts';
import { exampleOf } from '../datasets/tokens.ts';
import { fitAdapter, type Fitted } from '../engine/model/fit.ts';
import { freeBytes } from '../formats/disk.ts';
import { readPeft } from '../formats/tuned.ts';
import type { Models } from '../models/index.ts';
import {
  measureRows,
  planRecipe,
  readOverrides,
  wantsLongest,
  type DataSize,
  type Machine,
  type MeasuredRows,
} from '../recipes/index.ts';
import { fitsDisk } from '../recipes/estimate.ts';
import type { MeasuredSpeeds } from '../recipes/speeds.ts';
import type { StrategyService } from '../strategy/index.ts';
import type { Calibrations } from './calibrate.ts';
import type { History } from './history.ts';

export interface PlanRequest {
  readonly project: string;
  readonly model: string;
  readonly dataset?: string | undefined;
  readonly strategy?: Strategy | undefined;
  readonly set: Readonly<Record<string, unknown>>;
}
export interface Planned {
  readonly plan: Plan;
  readonly model: Model;
  readonly dataset: Dataset;
}
export interface Planner {
  plan(request: PlanRequest): Promise<Planned>;
  /** @throws what keeps a run from being started: DATA_EMPTY, MEMORY_SHORT, DISK_FULL, RECIPE_INVALID. */
  check(planned: Planned): void;
  /** What a recipe takes on this machine now. */
  free(model: Model, dataset: Dataset): Promise<Machine>;
}

export function createPlanner(
  core: Core,
  parts: {
    readonly models: Models;
    readonly datasets: Datasets;
    readonly strategy: StrategyService;
    readonly history: History;
    readonly speeds: MeasuredSpeeds;
    readonly calibrations: Pick<Calibrations, 'of'>;
  },
): Planner {
  const { models, datasets, history, calibrations } = parts;
  /** Datasets never change, so their sizes stay true. By project and dataset id. */
  const sizes = new Map<string, MeasuredRows>();
  /** By the model's hash besides, since each cuts text otherwise. */
  const counted = new Map<string, DataSize>();

  async function sizeOf({ project, id, rows }: Dataset, model: Model): Promise<DataSize> {
    const key = `${project}/${id}`;
    const size = sizes.get(key) ?? (await measureRows(readRows(datasets.rowsFile(project, id)), rows));
    sizes.set(key, size);
    if (!wantsLongest(size) || size.longestRows.length === 0) return size;
    const byModel = `${key} ${model.hash}`;
    const known = counted.get(byModel) ?? (await withLongest(size, model));
    counted.set(byModel, known);
    return known;
  }

  async function withLongest(size: MeasuredRows, model: Model): Promise<DataSize> {
    const text = await models.text(model.id);
    try {
      return { ...size, longest: Math.max(...size.longestRows.map((row) => exampleOf(row, text).ids.length)) };
    } catch (error) {
      // A row that the model's template refuses: the run will say so, with the template's words.
      if (error instanceof FettleError && error.code === 'TEMPLATE_FAILED') return size;
      throw error;
    }
  }

  /** Said by the person, else by the data they named, else chosen, else advised, else what the data allow. */
  async function strategyFor(request: PlanRequest, named: Dataset | undefined): Promise<Strategy> {
    if (request.strategy) return request.strategy;
    const set = readOverrides(request.set)['strategy'];
    if (set !== undefined) return Strategy.parse(set);
    if (named) return trainsBy(named.kind) ?? 'instruct';
    const chosen = parts.strategy.choice(request.project);
    if (chosen) return chosen.strategy === 'staged' ? 'non-instruct' : chosen.strategy;
    const { strategy } = await parts.strategy.advise(request.project, request.model);
    if (strategy === 'instruct' || strategy === 'non-instruct') return strategy;
    const pairs = datasets.newest(request.project, 'instruct');
    return strategy === 'staged' || !pairs ? 'non-instruct' : 'instruct';
  }

  async function plan(request: PlanRequest): Promise<Planned> {
    const model = models.show(request.model);
    const named = request.dataset === undefined ? undefined : datasets.show(request.project, request.dataset);
    const strategy = await strategyFor(request, named);
    const dataset = named ?? datasets.newest(request.project, strategy);
    if (!dataset)
      throw new FettleError(
        'DATASET_NOT_FOUND',
        strategy === 'instruct'
          ? 'This project has no examples to train on.'
          : 'This project has no text of its own to train on.',
        `Import ${strategy === 'instruct' ? 'examples' : 'documents'} first, or choose the other strategy.`,
      );
    if (strategyOf(dataset) !== strategy)
      throw new FettleError(
        'INPUT_INVALID',
        strategy === 'instruct'
          ? `“${dataset.name}” is text: instruct tuning needs examples, a question and its answer in each.`
          : `“${dataset.name}” holds examples: non-instruct tuning reads text.`,
        strategy === 'instruct'
          ? 'Choose strategy non-instruct for this text, or import examples.'
          : 'Choose strategy instruct for these examples, or import documents.',
      );
    const data = await sizeOf(dataset, model);
    const spec = await models.spec(model.id);
    const placed = located({ ...request.set, strategy });
    const given = { ...placed, ...(await adapterSettings(placed, spec)) };
    const context = { strategy, model: { ...model, spec }, data, threads: core.threads, speeds: await parts.speeds() };
    const made = planRecipe(context, await free(model, dataset), given);
    const advice = await parts.strategy.advise(request.project, model.id);
    return {
      model,
      dataset,
      plan: {
        ...made,
        questions: [
          ...(advice.strategy === 'do-not-tune'
            ? [{ key: 'strategy', question: `The advice is: ${advice.title.toLowerCase()}. Go on all the same?` }]
            : []),
          ...made.questions,
        ],
        dataset: dataset.id,
        model: model.id,
      },
    };
  }

  async function free(model: Model, dataset: Dataset): Promise<Machine> {
    return {
      threads: core.threads,
      freeMemoryBytes: availableMemory(),
      freeDiskBytes: await freeBytes(core.home.root),
      tokensPerSecond: history.pace(model.id),
      calibrated: calibrations.of(model, dataset),
    };
  }

  function check({ plan: { estimate }, dataset }: Planned): void {
    if (dataset.trainRows === 0 || dataset.heldOutRows === 0)
      throw new FettleError(
        'DATA_EMPTY',
        `“${dataset.name}” has no rows to ${dataset.trainRows === 0 ? 'train on' : 'hold out for measuring'}.`,
        'Import more rows.',
      );
    // Where another job is at work, its memory comes free before this one begins; it is looked at again then.
    const waits = core.jobs.list({ active: true }).some((job) => job.kind !== 'generate');
    if (!waits) checkMemory(estimate);
    if (!fitsDisk(estimate))
      throw new FettleError(
        'DISK_FULL',
        `The checkpoints take about ${inWords(estimate.diskBytes)}, the disk has ${inWords(estimate.freeDiskBytes)} left.`,
        'Free some space first.',
      );
  }

  return { plan, check, free };
}

/** @throws MEMORY_SHORT with what would make it fit. */
export function checkMemory(estimate: Plan['estimate']): void {
  const { memoryBytes, freeMemoryBytes, suggestions } = estimate;
  if (memoryBytes > freeMemoryBytes)
    throw new FettleError(
      'MEMORY_SHORT',
      `This run takes about ${inWords(memoryBytes)} of memory, and ${inWords(freeMemoryBytes)} are free.`,
      suggestions.map(({ text }) => text).join(' '),
      { details: { neededBytes: memoryBytes, freeBytes: freeMemoryBytes, suggestions } },
    );
}

/** Of a recipe what an adapter brings with it. */
const ADAPTER_SETTINGS = Recipe.pick({
  rank: true,
  alpha: true,
  targetModules: true,
  useRslora: true,
  useDora: true,
  modulesToSave: true,
});

/**
 * What an adapter that a run starts from decides: it goes on in its own rank, scale and modules.
 * @throws RECIPE_INVALID where there is none, or where the values given are others; MODEL_UNSUPPORTED for what is no plain LoRA.
 */
async function adapterSettings(
  given: Readonly<Record<string, unknown>>,
  spec: Awaited<ReturnType<Models['spec']>>,
): Promise<Partial<Recipe>> {
  const { initAdapter, method } = given;
  if (typeof initAdapter !== 'string' || initAdapter === 'none') return {};
  if (method === 'full')
    throw new FettleError(
      'RECIPE_INVALID',
      'A run that trains all weights cannot start from an adapter.',
      'Leave initAdapter out, or train an adapter (method lora).',
    );
  const adapter = await readPeft(initAdapter).catch((error: unknown) => {
    if (!(error instanceof FettleError) || error.code !== 'FILE_NOT_FOUND') throw error;
    throw new FettleError(
      'RECIPE_INVALID',
      `initAdapter names ${initAdapter}, where there is no adapter.`,
      'It takes the folder of a PEFT adapter, such as one exported here.',
    );
  });
  let fitted: Fitted;
  try {
    fitted = fitAdapter(spec, adapter, adapter.stated.tied);
  } finally {
    await adapter.close();
  }
  const parsed = ADAPTER_SETTINGS.safeParse({ ...adapter.lora, targetModules: fitted.targetModules });
  if (!parsed.success) {
    const [key] = parsed.error.issues[0]!.path as [keyof typeof ADAPTER_SETTINGS.shape];
    throw new FettleError(
      'RECIPE_INVALID',
      `The adapter in ${initAdapter} has ${key} ${String(adapter.lora[key])}, which no run here can have.`,
      'Bring it in as a run (`fettle run import`) to ask, compare and export it, or start from another one.',
    );
  }
  const own = parsed.data;
  const words = (value: unknown): string => [value].flat().map(String).sort().join(', ') || 'none';
  const asked = readOverrides(given);
  for (const key of Object.keys(own) as (keyof typeof own)[]) {
    // As in PEFT, all of them: those that the adapter is on.
    if (asked[key] === undefined || words(asked[key]) === 'all-linear' || words(asked[key]) === words(own[key]))
      continue;
    throw new FettleError(
      'RECIPE_INVALID',
      `${key} is ${words(own[key])} in the adapter that this run starts from, so it cannot be ${words(asked[key])}.`,
      `Leave ${key} out, or start from the base model.`,
    );
  }
  return own;
}

/** The adapter's folder by its whole path: the process that trains runs elsewhere. */
function located(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { initAdapter } = given;
  return typeof initAdapter === 'string' && initAdapter !== 'none' && !isAbsolute(initAdapter)
    ? { ...given, initAdapter: resolve(initAdapter) }
    : { ...given };
}
