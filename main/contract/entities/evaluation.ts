/** @file Models asked and measured: answers, checks, scorecards, verdicts. */
import { z } from 'zod';
import { Recipe, Way } from '../recipe.ts';
import { JobState } from '../training.ts';
import { ErrorInfo, Measured, Time } from './common.ts';
import { AdviceStrategy, Answers } from './strategy.ts';

/** A model to ask: a base model's id, a run's id (its best checkpoint), or `run@checkpoint`. */
export const Target = z.string().min(1).max(200);
export const Sampling = z.object({
  maxTokens: z.int().min(1).max(4096).default(128),
  /** 0 is greedy. */
  temperature: z.number().min(0).max(5).default(0),
  topP: z.number().gt(0).max(1).default(1),
  topK: z.int().min(0).max(100000).default(0),
  repetitionPenalty: z.number().min(0.1).max(10).default(1),
  seed: z.int().min(0).default(0),
});
export type Sampling = z.infer<typeof Sampling>;
export const Answer = z.object({
  target: z.string(),
  text: z.string(),
  tokens: z.int(),
  stopReason: z.enum(['stop', 'length', 'aborted']),
  tokensPerSecond: z.number(),
});
export type Answer = z.infer<typeof Answer>;
/** How an answer is judged. `text`: what it must contain or match, of JSON the schema; `least`, `most`: words. */
export const Check = z.object({
  kind: z.enum(['exact', 'contains', 'number', 'choice', 'json', 'length', 'pattern', 'f1', 'rouge-l']),
  text: z.string().max(20000).optional(),
  least: z.int().min(0).optional(),
  most: z.int().min(1).optional(),
});
export type Check = z.infer<typeof Check>;
/** What models are measured on: loss on held-out rows, answers to held-out questions, general skills, text of other kinds. */
export const SuiteName = z.enum(['held-out', 'task', 'general', 'prose']);
export type SuiteName = z.infer<typeof SuiteName>;
/** A suite as it was measured on: the version says which rows, checks or probes those were. */
export const Suite = z.object({ name: SuiteName, version: z.string(), items: z.int() });
export type Suite = z.infer<typeof Suite>;
export const DifferenceVerdict = z.enum(['better', 'worse', 'no-difference']);
export type DifferenceVerdict = z.infer<typeof DifferenceVerdict>;
/** Shares of items, 0 to 1, of each model; differences and verdicts are of each further model to the first. */
const Scores = z.object({
  scores: z.array(Measured),
  differences: z.array(Measured),
  verdicts: z.array(DifferenceVerdict),
});
const ScoredItems = z.array(
  z.object({
    id: z.string(),
    prompt: z.string(),
    expected: z.string(),
    /** Of each model, in the order of the comparison's targets; `checks` where there are several, the score being their lowest. */
    answers: z.array(
      z.object({ text: z.string(), score: z.number(), why: z.string(), checks: z.array(z.number()).optional() }),
    ),
  }),
);
export const Scorecard = z.object({
  /** Precision on the goal: held-out questions answered and judged; all checks together, then each, with verdicts corrected for their number (Holm). */
  goal: Scores.extend({ items: ScoredItems, checks: z.array(Scores.extend({ check: Check })) }).nullable(),
  /** What was kept, gained and lost elsewhere: all probes together, then by skill with verdicts corrected for their number (Holm). */
  general: Scores.extend({ count: z.int() }).nullable(),
  skills: z.array(Scores.extend({ skill: z.string(), items: ScoredItems })),
  /** Loss on text that has nothing to do with the goal, in nats a token; by kind of text without margins, since each is one text. */
  prose: z
    .object({
      losses: z.array(Measured),
      differences: z.array(Measured),
      verdicts: z.array(DifferenceVerdict),
      domains: z.array(z.object({ domain: z.string(), losses: z.array(z.number()) })),
    })
    .nullable(),
  /** One of each further target. */
  sentences: z.array(z.string()),
});
export type Scorecard = z.infer<typeof Scorecard>;
/** Who was measured, as it was then: runs and models may be gone since. */
export const ComparedModel = z.object({
  target: z.string(),
  /** "Run 3, step 120", or the base model's name. */
  label: z.string(),
  model: z.object({ id: z.string(), name: z.string(), hash: z.string() }),
  /** SHA-256 of the adapter's weights, or of all where all were trained; null for a base model as it is. */
  adapter: z.string().nullable(),
  /** The same of each stage that it stands on, first to last. */
  under: z.array(z.string()),
  run: z
    .object({
      id: z.string(),
      number: z.int(),
      /** 'staged' where it stands on another run. */
      strategy: Way,
      checkpoint: z.string(),
      step: z.int(),
      /** Of the run, when it was measured: its steps, those it was planned for, and the best of them by the loss on unseen rows. */
      steps: z.int(),
      planned: z.int(),
      best: z.object({ step: z.int(), loss: z.number() }).nullable(),
      lastLoss: z.number().nullable(),
      trainRows: z.int().nullable(),
      recipe: Recipe.pick({
        epochs: true,
        maxSteps: true,
        learningRate: true,
        rank: true,
        rehearsal: true,
        seed: true,
      }),
      advised: AdviceStrategy.nullable(),
      overruled: z.boolean(),
    })
    .nullable(),
});
export type ComparedModel = z.infer<typeof ComparedModel>;
/** Whether the strategy was the right one for the goal, and what to change next. By the rules in main/evaluation/verdict. */
export const StrategyVerdict = z.object({
  target: z.string(),
  verdict: z.enum(['right', 'price', 'not-yet', 'wrong', 'open']),
  /** The rule that decided. */
  rule: z.string(),
  title: z.string(),
  because: z.string(),
  next: z.array(
    z.object({
      /** The piece of advice. */
      id: z.string(),
      what: z.string(),
      why: z.string(),
      /** Values of the recipe that do it. */
      set: z.record(z.string(), z.number()),
    }),
  ),
});
export type StrategyVerdict = z.infer<typeof StrategyVerdict>;
export const ComparisonResult = z.object({
  version: z.literal(2),
  models: z.array(ComparedModel),
  suites: z.array(Suite),
  /** How answers were chosen; the seed decides nothing where the temperature is 0. */
  decoding: Sampling,
  /** What the person said of the goal then. */
  answers: Answers,
  /**
   * Held-out rows that were left out of all suites because a compared model, or a stage under it, was trained on the
   * same content; and models of which it is not known what all they were trained on. Null where nobody looked.
   */
  learned: z.object({ rows: z.int(), unchecked: z.array(z.string()) }).nullable(),
  heldOutRows: z.int(),
  heldOutTokens: z.int(),
  /** Rows of more tokens than this were cut, documents split, whatever the runs were trained with; null where it was not kept. */
  maxLength: z.int().nullable(),
  /** Each row that the losses rest on: its number in the data, how it begins, and each model's mean loss a token, in nats. */
  rows: z.array(z.object({ row: z.int(), text: z.string(), tokens: z.int(), losses: z.array(z.number()) })),
  /** In the order of `targets`: mean loss a token, in nats. Empty where the held-out rows were not asked for. */
  losses: z.array(z.object({ target: z.string(), label: z.string(), loss: Measured, perplexity: z.number() })),
  /** Each further target against the first: loss, with its margin from a paired bootstrap over rows. */
  differences: z.array(
    z.object({
      target: z.string(),
      against: z.string(),
      loss: Measured,
      verdict: DifferenceVerdict,
      sentence: z.string(),
    }),
  ),
  samples: z.array(z.object({ prompt: z.string(), expected: z.string(), answers: z.array(Answer) })),
  /** What differs between the runs' recipes, data and models. */
  settings: z.array(z.object({ key: z.string(), values: z.array(z.string()), same: z.boolean() })),
  scorecard: Scorecard.nullable(),
});
export type ComparisonResult = z.infer<typeof ComparisonResult>;
export const Comparison = z.object({
  id: z.string(),
  project: z.string(),
  state: JobState,
  targets: z.array(z.string()),
  /** What the targets were called when it was asked for. */
  labels: z.array(z.string()),
  createdAt: Time,
  error: ErrorInfo.nullable(),
  /** Null while it is measured. */
  result: ComparisonResult.nullable(),
  /** Of each further target that is a run; by the result and the project's newest learning curve. */
  verdicts: z.array(StrategyVerdict),
});
export type Comparison = z.infer<typeof Comparison>;
/** A comparison without what it measured, which may be large. */
export const ComparisonSummary = Comparison.omit({ result: true, verdicts: true });
export type ComparisonSummary = z.infer<typeof ComparisonSummary>;
