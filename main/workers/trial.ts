/** @file What the child processes of pilots and learning curves share: lessons of so many tokens, looks at the same rows, and what the minutes bear. */
import { join } from 'node:path';
import { FettleError } from '../contract/errors.ts';
import type { Recipe } from '../contract/recipe.ts';
import { readRows } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { BatchPlan } from '../engine/train/batches.ts';
import { checkpointName } from '../engine/train/checkpoint.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { labelledCount } from '../engine/train/packing.ts';
import { train } from '../engine/train/trainer.ts';
import type { Example } from '../engine/types.ts';
import type { RowLoss } from '../evaluation/bootstrap.ts';
import { adapterConfig } from '../formats/peft.ts';
import type { ChildContext } from './child.ts';

export interface TrialJob {
  readonly model: string;
  readonly modelName: string;
  /** For each training; null takes what the minutes bear. */
  readonly tokens: number | null;
  readonly minutes: number;
  /** Tokens of a row that is learned from or looked at, the same for all that is tried. */
  readonly maxLength: number;
  /** For adapters, removed by who asked. */
  readonly folder: string;
  readonly threads: number;
}
export interface TrialEvent {
  readonly stage: string;
  readonly share: number;
}
/** Data and how they are learned from. */
export interface LessonJob {
  readonly rows: string;
  readonly recipe: Recipe;
}
export interface Learned {
  readonly model: TunedModel;
  readonly tokens: number;
  readonly steps: number;
  /** Of the adapter. */
  readonly folder: string;
}
/** Rows that every model of a trial is measured on. */
export interface LookedAt {
  readonly examples: readonly Example[];
  readonly instruct: boolean;
}

/** Tokens of a lesson that measures the machine's speed; it is thrown away. */
const TRIAL_TOKENS = 2000;
/** No lesson is shorter. */
const LEAST_TOKENS = 1000;
/** Of the time that is left for training: saving, loading and what others do on the machine take theirs. */
const OF_THE_TIME = 0.9;
/** Of the minutes, what looking may take; and how much faster it is than learning: it goes forward only, once. */
const LOOKING = 0.3;
const LOOK_IS_FASTER = 2.5;
const MOST_LOOK_TOKENS = 8000;

export class TrialRun {
  readonly #job: TrialJob;
  readonly #context: ChildContext<TrialEvent>;
  readonly #started = performance.now();
  #lookSeconds = 0;
  /** Tokens learned a second. */
  #rate = 0;

  constructor(job: TrialJob, context: ChildContext<TrialEvent>) {
    this.#job = job;
    this.#context = context;
  }

  /** @throws CANCELLED */
  stop(): void {
    if (this.#context.signal.aborted)
      throw new FettleError('CANCELLED', 'The trial was cancelled.', 'Nothing was kept.');
  }

  /** @throws CANCELLED */
  tell(stage: string, share: number): void {
    this.stop();
    this.#context.emit({ stage, share });
  }

  /** Losses of every row of every set. @throws CANCELLED */
  async look(model: BaseModel | TunedModel, sets: readonly LookedAt[]): Promise<RowLoss[][]> {
    const started = performance.now();
    const rows: RowLoss[][] = [];
    for (const { examples, instruct } of sets) {
      const measured = await evaluate(model, examples, {
        strategy: instruct ? 'instruct' : 'non-instruct',
        maxLength: this.#job.maxLength,
        packing: true,
        batchSize: 1,
        abandon: () => this.#context.signal.aborted,
      });
      this.stop();
      rows.push([...measured!.examples]);
    }
    this.#lookSeconds = (performance.now() - started) / 1000;
    return rows;
  }

  /**
   * A new adapter on `base`, trained on as many whole steps as come nearest to the tokens.
   * @param watch called after each share of the steps, the last at their end.
   * @throws CANCELLED, TRAINING_DIVERGED, DATA_EMPTY
   */
  async teach(
    base: BaseModel,
    lesson: { readonly examples: readonly Example[]; readonly recipe: Recipe },
    tokens: number,
    name: string,
    watch?: { readonly times: number; readonly look: (model: TunedModel) => Promise<void> },
  ): Promise<Learned & { readonly tokensPerSecond: number }> {
    const { examples, recipe } = lesson;
    const steps = stepsFor(new BatchPlan(examples, recipe), tokens);
    const model = base.withLora(recipe);
    const checkpointDir = join(this.#job.folder, name);
    const rates: number[] = [];
    const { result } = await train({
      model,
      train: examples,
      heldOut: [],
      recipe: { ...recipe, maxSteps: steps },
      runId: name,
      checkpointDir,
      onEvent: (event) => {
        if (event.type === 'step') rates.push(event.tokensPerSecond);
      },
      control: { requested: () => (this.#context.requested() === 'none' ? 'none' : 'cancel') },
      ...(watch && {
        sample: {
          every: Math.ceil(steps / watch.times),
          generate: async (step) => {
            if (step > 0) await watch.look(model);
            return [];
          },
        },
      }),
      clock: () => performance.now(),
      memory: () => 0,
      adapterConfig: adapterConfig({ ...recipe, baseModel: this.#job.modelName, transposed: model.spec.transposed }),
    });
    this.stop();
    return {
      model,
      tokens: result?.tokens ?? 0,
      steps,
      // The first step compiles.
      tokensPerSecond: median(rates.length > 1 ? rates.slice(1) : rates),
      folder: join(checkpointDir, checkpointName(steps)),
    };
  }

  /** Measures how fast this machine learns, where minutes are to be kept to. Before looks and lessons are planned. @throws as teach */
  async pace(
    base: BaseModel,
    lesson: { readonly examples: readonly Example[]; readonly recipe: Recipe },
  ): Promise<void> {
    if (this.#job.tokens === null) this.#rate = (await this.teach(base, lesson, TRIAL_TOKENS, 'trial')).tokensPerSecond;
  }

  /** Tokens that a look may have, so that so many of them do not outlast the lessons. */
  lookTokens(looks: number): number {
    if (this.#job.tokens !== null) return MOST_LOOK_TOKENS;
    const borne = (this.#rate * LOOK_IS_FASTER * this.#job.minutes * 60 * LOOKING) / looks;
    return Math.round(Math.min(MOST_LOOK_TOKENS, Math.max(LEAST_TOKENS, borne)));
  }

  /** Tokens for each of `lessons`: what was asked for, or what the minutes bear beside `looks` more of them. */
  budget({ lessons, looks }: { readonly lessons: number; readonly looks: number }): number {
    if (this.#job.tokens !== null) return this.#job.tokens;
    const left = this.#job.minutes * 60 - (performance.now() - this.#started) / 1000 - looks * this.#lookSeconds;
    return Math.max(LEAST_TOKENS, Math.round((this.#rate * left * OF_THE_TIME) / lessons));
  }
}

export async function readExamples(
  rows: string | undefined,
  text: TextModel,
): Promise<{ train: Example[]; heldOut: Example[] }> {
  const out: { train: Example[]; heldOut: Example[] } = { train: [], heldOut: [] };
  if (rows === undefined) return out;
  for await (const row of readRows(rows)) out[row.split === 'train' ? 'train' : 'heldOut'].push(exampleOf(row, text));
  return out;
}

export const labelledTokens = (examples: readonly Example[]): number =>
  examples.reduce((sum, example) => sum + labelledCount(example), 0);

/** The number of steps whose tokens come nearest to the budget, at least one. */
export function stepsFor(plan: BatchPlan, budget: number): number {
  let seen = 0;
  for (let step = 0; ; step++) {
    const tokens = plan.step(plan.position(step)).reduce((sum, batch) => sum + batch.tokens, 0);
    if (seen + tokens >= budget) return Math.max(1, seen + tokens - budget <= budget - seen ? step + 1 : step);
    seen += tokens;
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 1;
}
