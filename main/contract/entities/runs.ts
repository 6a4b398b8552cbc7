/** @file Plans, runs and their checkpoints. */
import { z } from 'zod';
import { Recipe, Strategy } from '../recipe.ts';
import { DeviceEvent, JobState } from '../training.ts';
import { ErrorInfo, Time } from './common.ts';
import { Advice, Choice } from './strategy.ts';

export const Estimate = z.object({
  steps: z.int(),
  tokensPerStep: z.int(),
  /** Of the tokens of one pass, those that are general data (recipe's `rehearsal`). */
  rehearsalTokens: z.int(),
  memoryBytes: z.int(),
  freeMemoryBytes: z.int(),
  diskBytes: z.int(),
  freeDiskBytes: z.int(),
  /** From the start to the last look at unseen rows; null until a rate was measured on this machine for this model. */
  seconds: z.number().nullable(),
  /** What the seconds stand on: the first steps of this very recipe, measured, or an earlier run that was alike. */
  secondsFrom: z.enum(['calibration', 'run']).nullable(),
  /** The same in a sentence. */
  secondsWhy: z.string(),
  fits: z.boolean(),
  /** What would make it fit, best first; `set` is what of the recipe it changes, nothing where it is for the person to do. */
  suggestions: z.array(z.object({ text: z.string(), set: z.record(z.string(), z.unknown()) })),
});
export type Estimate = z.infer<typeof Estimate>;
/** Something that can go wrong with this model and this strategy, what stands against it, and what else could be done. */
export const Guard = z.object({
  what: z.string(),
  /** The figure or fact it was seen by. */
  measured: z.string(),
  suggestion: z.string(),
  /** False where nothing stands against it: a person should look. */
  holds: z.boolean(),
});
export type Guard = z.infer<typeof Guard>;
export const Plan = z.object({
  recipe: Recipe,
  /** Why each value is what it is, by recipe key. */
  reasons: z.record(z.string(), z.object({ reason: z.string(), usual: z.string() })),
  /** Unusual values, questioned but not blocked. */
  questions: z.array(z.object({ key: z.string(), question: z.string() })),
  guards: z.array(Guard),
  dataset: z.string(),
  model: z.string(),
  /** The model's linear layers: what targetModules may name. */
  modules: z.array(z.string()),
  /** What stands before and after its blocks, by its own names: what modulesToSave may name. */
  saveable: z.array(z.string()),
  estimate: Estimate,
});
export type Plan = z.infer<typeof Plan>;
export const Checkpoint = z.object({
  name: z.string(),
  step: z.int(),
  heldOutLoss: z.number().nullable(),
  best: z.boolean(),
  last: z.boolean(),
  bytes: z.int(),
});
export type Checkpoint = z.infer<typeof Checkpoint>;
/** An adapter that was made elsewhere and brought in as a run. Nothing is known of it but what its files say. */
export const Imported = z.object({
  /** A name in words. */
  name: z.string(),
  /** What its files name as their base; null where they name none. */
  base: z.string().nullable(),
  rank: z.int(),
  /** As its files state it; the product is scaled by alpha / rank, or alpha / sqrt(rank) with rsLoRA. */
  alpha: z.number(),
  useRslora: z.boolean(),
  useDora: z.boolean(),
  targetModules: z.array(z.string()),
  /** Weights outside the blocks that were trained in whole. */
  modulesToSave: z.array(z.string()),
  /** SHA-256 of its weights' file as it came. */
  hash: z.string(),
});
export type Imported = z.infer<typeof Imported>;
export const Run = z.object({
  /** `<project>-<number>`. */
  id: z.string(),
  project: z.string(),
  number: z.int(),
  state: JobState,
  stage: z.string(),
  model: z.string(),
  modelName: z.string(),
  /** What it learned from, by what strategy and recipe; null where an adapter was brought in and nobody here knows. */
  dataset: z.string().nullable(),
  datasetName: z.string().nullable(),
  strategy: Strategy.nullable(),
  recipe: Recipe.nullable(),
  imported: Imported.nullable(),
  /**
   * The stage that this run stands on: its adapter is merged into the base before this one's is trained. The checkpoint
   * is null until this run begins; then it is the best one, for good.
   */
  over: z.object({ run: z.string(), checkpoint: z.string().nullable() }).nullable(),
  /** The run this one was cloned from. */
  clonedFrom: z.string().nullable(),
  advice: Advice.nullable(),
  choice: Choice.nullable(),
  step: z.int(),
  steps: z.int(),
  tokens: z.int(),
  tokensPerSecond: z.number().nullable(),
  secondsLeft: z.number().nullable(),
  seconds: z.number(),
  heldOutLoss: z.number().nullable(),
  heldOutLossStart: z.number().nullable(),
  best: z.object({ step: z.int(), loss: z.number() }).nullable(),
  peakMemoryBytes: z.int().nullable(),
  checkpoints: z.array(Checkpoint),
  /** What it trained on when it was last started; null before, and of runs that were older than the choice. */
  device: DeviceEvent.omit({ type: true }).nullable(),
  error: ErrorInfo.nullable(),
  versions: z.record(z.string(), z.string()),
  createdAt: Time,
  startedAt: Time.nullable(),
  finishedAt: Time.nullable(),
});
export type Run = z.infer<typeof Run>;
/** One that was trained here. */
export type TrainedRun = Run & {
  readonly [K in 'dataset' | 'datasetName' | 'strategy' | 'recipe']: NonNullable<Run[K]>;
};
