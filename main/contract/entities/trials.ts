/** @file Trainings that measure something and keep no model: pilots and learning curves. */
import { z } from 'zod';
import { Strategy, Way } from '../recipe.ts';
import { JobState } from '../training.ts';
import { ErrorInfo, Measured, Time } from './common.ts';

/** Trains for a while to measure something; keeps no model. */
export const Trial = z.object({
  id: z.string(),
  project: z.string(),
  model: z.string(),
  state: JobState,
  error: ErrorInfo.nullable(),
  createdAt: Time,
});
export type Trial = z.infer<typeof Trial>;
/** Ways of tuning tried on a slice, with the same budget of tokens, and measured on the same text. */
export const Pilot = Trial.extend({
  result: z
    .object({
      /** What each way was given to learn from, in tokens. */
      budget: z.int(),
      /** What was measured on; the first is the goal. */
      sets: z.array(
        z.object({ id: z.enum(['goal', 'field', 'other']), title: z.string(), rows: z.int(), tokens: z.int() }),
      ),
      /** The model as it is, then each way. Losses in nats a token, in the order of `sets`; differences to the model as it is. */
      arms: z.array(
        z.object({
          way: z.union([z.literal('base'), Way]),
          tokens: z.int(),
          steps: z.int(),
          losses: z.array(Measured),
          differences: z.array(Measured.nullable()),
        }),
      ),
      /** The way that is measurably best on the goal; null where that cannot be told. */
      best: Way.nullable(),
      sentence: z.string(),
    })
    .nullable(),
});
export type Pilot = z.infer<typeof Pilot>;
/** Whether more of the same data would help: the loss on unseen rows after training on a quarter, half and all of a slice. */
export const LearningCurve = Trial.extend({
  result: z
    .object({
      /** A name in words, and the version by its hash. */
      dataset: z.object({ id: z.string(), name: z.string() }),
      strategy: Strategy,
      /** What every training was given to learn from, in tokens; small parts are read several times. */
      budget: z.int(),
      /** Of the dataset: rows to train on (pieces of text for prose) and their tokens. */
      all: z.object({ rows: z.int(), tokens: z.int() }),
      heldOut: z.object({ rows: z.int(), tokens: z.int() }),
      /** The model as it is, in nats a token. */
      base: Measured,
      /** From few to many rows. `share` is of all the dataset's. Each loss is the mean of `losses`, one a training. */
      points: z.array(
        z.object({
          share: z.number(),
          rows: z.int(),
          tokens: z.int(),
          loss: Measured,
          losses: z.array(z.number()),
        }),
      ),
      /** What the line through the points says: of all that was tried, and of twice as much. */
      forecast: z.array(z.object({ share: z.number(), rows: z.int(), loss: Measured })),
      /** What a doubling changes, in nats a token: below 0 it helps. */
      doubling: Measured,
      verdict: z.enum(['helps', 'hardly', 'unclear', 'no-gain']),
      sentence: z.string(),
    })
    .nullable(),
});
export type LearningCurve = z.infer<typeof LearningCurve>;
