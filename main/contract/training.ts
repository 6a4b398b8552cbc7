/** @file What a training run reports while it goes on. The command prints these lines, the workbench draws them. */
import { z } from 'zod';
import { DEVICES } from './recipe.ts';

/** The states of a job; the row in the database is the truth. */
export const JobState = z.enum([
  'queued',
  'starting',
  'running',
  'pausing',
  'paused',
  'stopping',
  'completed',
  'failed',
  'cancelled',
  'interrupted',
]);
export type JobState = z.infer<typeof JobState>;
/** At work, or waiting for its turn. */
export const ACTIVE_STATES: readonly JobState[] = ['queued', 'starting', 'running', 'pausing', 'stopping'];
export const isActive = (state: JobState): boolean => ACTIVE_STATES.includes(state);
const RESUMABLE_STATES: readonly JobState[] = ['paused', 'interrupted', 'failed'];
export const isResumable = (state: JobState): boolean => RESUMABLE_STATES.includes(state);

export const StepEvent = z.object({
  type: z.literal('step'),
  step: z.int(),
  /** Optimiser steps the run will take in all. */
  steps: z.int(),
  /** Passes over the data so far, a fraction. */
  epoch: z.number(),
  /** Mean over the labelled tokens of the step's batch, in nats. */
  loss: z.number(),
  learningRate: z.number(),
  /** Global L2 norm before clipping. */
  gradNorm: z.number(),
  /** Tokens seen so far, padding not counted. */
  tokens: z.int(),
  /** Tokens that carried loss so far. */
  labelledTokens: z.int(),
  /** Of this step alone. */
  tokensPerSecond: z.number(),
  /** Resident memory of the training process. */
  memoryBytes: z.int(),
  /** Seconds of training so far; pauses not counted. */
  seconds: z.number(),
});
export const EvalEvent = z.object({
  type: z.literal('eval'),
  step: z.int(),
  /** Mean over labelled held-out tokens, in nats. */
  loss: z.number(),
  perplexity: z.number(),
  tokens: z.int(),
  /** True where this is the lowest so far. */
  best: z.boolean(),
  seconds: z.number(),
});
export const SampleEvent = z.object({ type: z.literal('sample'), step: z.int(), prompt: z.string(), text: z.string() });
export const CheckpointEvent = z.object({
  type: z.literal('checkpoint'),
  step: z.int(),
  /** Folder name below the run's checkpoints/. */
  name: z.string(),
  heldOutLoss: z.number().nullable(),
  best: z.boolean(),
  bytes: z.int(),
  /** Checkpoints that the keeping rule removed at this moment. */
  removed: z.array(z.string()),
});
export const StateEvent = z.object({
  type: z.literal('state'),
  state: JobState,
  /** What is being done, in plain words: "Loading the model". */
  stage: z.string().optional(),
});
/** Told at each start: what it trains on from here. */
export const DeviceEvent = z.object({
  type: z.literal('device'),
  device: z.enum(DEVICES),
  name: z.string(),
  /** In a sentence. */
  why: z.string(),
});
export const ResultEvent = z.object({
  type: z.literal('result'),
  run: z.string(),
  state: JobState,
  steps: z.int(),
  tokens: z.int(),
  tokensPerSecond: z.number(),
  heldOutLoss: z.number().nullable(),
  heldOutLossStart: z.number().nullable(),
  /** The step with the lowest held-out loss, and that loss. */
  best: z.object({ step: z.int(), loss: z.number() }).nullable(),
  checkpoint: z.string().nullable(),
  peakMemoryBytes: z.int(),
  seconds: z.number(),
  /** Early-stopped: the loss on unseen examples no longer fell. Stopped: a person ended it and kept what was learned. */
  reason: z.enum(['finished', 'early-stopped', 'stopped', 'cancelled', 'failed']),
});
export const TrainEvent = z.discriminatedUnion('type', [
  StateEvent,
  StepEvent,
  EvalEvent,
  SampleEvent,
  CheckpointEvent,
  DeviceEvent,
  ResultEvent,
]);
export type StepEvent = z.infer<typeof StepEvent>;
export type EvalEvent = z.infer<typeof EvalEvent>;
export type SampleEvent = z.infer<typeof SampleEvent>;
export type CheckpointEvent = z.infer<typeof CheckpointEvent>;
export type DeviceEvent = z.infer<typeof DeviceEvent>;
export type ResultEvent = z.infer<typeof ResultEvent>;
export type TrainEvent = z.infer<typeof TrainEvent>;
