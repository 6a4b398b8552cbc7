/** @file The guide: questions, what was measured, the advice, what a person chose. */
import { z } from 'zod';
import { Way } from '../recipe.ts';
import { Measured, Time } from './common.ts';

export const AdviceStrategy = z.enum(['instruct', 'non-instruct', 'staged', 'do-not-tune']);
export type AdviceStrategy = z.infer<typeof AdviceStrategy>;
export const Axis = z.enum(['goal-clarity', 'flexibility', 'data']);
export const Question = z.object({
  id: z.string(),
  axis: Axis,
  text: z.string(),
  why: z.string(),
  example: z.string(),
  options: z.array(z.object({ value: z.string(), label: z.string(), note: z.string().optional() })),
});
export type Question = z.infer<typeof Question>;
export const Answers = z.record(z.string(), z.string());
export type Answers = z.infer<typeof Answers>;
/** What a base model already does on a project's held-out examples, measured before anything is tuned. */
export const BaseMeasure = z.object({
  model: z.string(),
  dataset: z.string(),
  at: Time,
  /** Held-out rows that were looked at. */
  rows: z.int(),
  /** Mean loss a token of the answers, in nats. */
  loss: Measured,
  /** Token F1 (SQuAD) of its own answers to the expected ones, 0 to 1; null where it has no chat template. */
  f1: Measured.nullable(),
  /** Answers that are the expected one, word for word. */
  exact: z.int(),
  answers: z.array(z.object({ prompt: z.string(), expected: z.string(), answer: z.string(), f1: z.number() })),
});
export type BaseMeasure = z.infer<typeof BaseMeasure>;
/** How well a base model already predicts a project's held-out prose. */
export const ProseMeasure = z.object({
  model: z.string(),
  dataset: z.string(),
  at: Time,
  /** Held-out documents that were looked at, and their tokens. */
  documents: z.int(),
  tokens: z.int(),
  /** Mean loss a token, in nats. */
  loss: Measured,
});
export type ProseMeasure = z.infer<typeof ProseMeasure>;
export const Advice = z.object({
  strategy: AdviceStrategy,
  title: z.string(),
  summary: z.string(),
  /** 0 to 1, and the words for it. */
  confidence: z.object({ value: z.number(), words: z.string() }),
  axes: z.array(
    z.object({
      axis: Axis,
      title: z.string(),
      /** Where it stands between the two ends: 0 speaks for non-instruct, 1 for instruct. */
      position: z.number().min(0).max(1),
      /** How far off it could be, on the same scale. */
      band: z.tuple([z.number(), z.number()]),
      ends: z.tuple([z.string(), z.string()]),
      leansTo: AdviceStrategy,
      reason: z.string(),
      evidence: z.array(z.object({ label: z.string(), value: z.string() })),
    }),
  ),
  second: z.object({ strategy: AdviceStrategy, reason: z.string() }),
  risk: z.string(),
  missing: z.array(z.string()),
  /** Named contradictions between answers and data. */
  contradictions: z.array(z.string()),
  /** True until a model is named; says what the model would add. */
  provisional: z.string().nullable(),
  /** What the model already does, where that was measured on the newest examples. */
  measured: BaseMeasure.nullable().default(null),
  /** The same for the newest prose. */
  measuredProse: ProseMeasure.nullable().default(null),
  answered: z.int(),
  questions: z.int(),
});
export type Advice = z.infer<typeof Advice>;
export const Choice = z.object({
  strategy: Way,
  reason: z.string(),
  overruled: z.boolean(),
  advised: AdviceStrategy,
  at: Time,
});
export type Choice = z.infer<typeof Choice>;
/** With whether a person went another way than was advised. @throws ZodError for words that are none of its own */
export const choiceFrom = (kept: Readonly<Record<Exclude<keyof Choice, 'overruled'>, string>>): Choice =>
  Choice.parse({ ...kept, overruled: kept.advised !== kept.strategy });
