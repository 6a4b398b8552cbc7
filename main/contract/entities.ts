/** @file The things a person sees: projects, datasets, models, advice, runs, comparisons, exports. */
import { z } from 'zod';
import { Recipe, Strategy, Way } from './recipe.ts';
import { JobState } from './training.ts';

/** ISO 8601, UTC. */
const Time = z.string();
export const ErrorInfo = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });
export type ErrorInfo = z.infer<typeof ErrorInfo>;

/** A figure with its 95% margin. `low`..`high` is the interval. */
export const Measured = z.object({ value: z.number(), low: z.number(), high: z.number() });
export type Measured = z.infer<typeof Measured>;

// ---- jobs
export const JobKind = z.enum([
  'train',
  'model',
  'starter',
  'import',
  'inspect',
  'tokens',
  'derive',
  'measure',
  'pilot',
  'curve',
  'compare',
  'export',
  'generate',
  'answer',
]);
export type JobKind = z.infer<typeof JobKind>;
export const Job = z.object({
  id: z.string(),
  kind: JobKind,
  /** Project slug, where it belongs to one. */
  project: z.string().nullable(),
  /** What it works on: a run id, a model name, a comparison or export id. */
  subject: z.string(),
  /** Plain words: "Training run 4". */
  title: z.string(),
  state: JobState,
  stage: z.string(),
  /** 0 to 1, null where it cannot be told. */
  progress: z.number().min(0).max(1).nullable(),
  /** Estimated from the pace so far. */
  secondsLeft: z.number().nullable(),
  error: ErrorInfo.nullable(),
  createdAt: Time,
  startedAt: Time.nullable(),
  finishedAt: Time.nullable(),
});
export type Job = z.infer<typeof Job>;

// ---- models
export const Model = z.object({
  /** Unique in the library, usable in paths and commands. */
  id: z.string(),
  name: z.string(),
  format: z.enum(['huggingface', 'gguf']),
  architecture: z.string(),
  parameters: z.int(),
  layers: z.int(),
  hiddenSize: z.int(),
  vocabSize: z.int(),
  /** Its linear layers, as PEFT calls them: what an adapter may be on. */
  modules: z.array(z.string()),
  contextLength: z.int(),
  /** Bytes on disk. */
  bytes: z.int(),
  /** How the weights are stored: "Q4_1", "BF16". */
  storage: z.string(),
  license: z.string().nullable(),
  kind: z.object({ value: z.enum(['base', 'instruct']), evidence: z.array(z.string()) }),
  hasChatTemplate: z.boolean(),
  /** SHA-256 over the files that matter. */
  hash: z.string(),
  /** What training on it takes with the default recipe, and whether this machine has it. */
  memory: z.object({ neededBytes: z.int(), freeBytes: z.int(), fits: z.boolean() }),
  addedAt: Time,
});
export type Model = z.infer<typeof Model>;

// ---- datasets
export const DatasetKind = z.enum(['instruction', 'conversation', 'prose', 'preference']);
export type DatasetKind = z.infer<typeof DatasetKind>;
export const DroppedReason = z.object({
  reason: z.string(),
  count: z.int(),
  examples: z.array(z.object({ file: z.string(), line: z.int().nullable() })),
});
export type DroppedReason = z.infer<typeof DroppedReason>;
/** A row that was left out, with what was read of it. */
export const DroppedRow = z.object({
  file: z.string(),
  line: z.int().nullable(),
  reason: z.string(),
  /** At most 2,000 characters. */
  raw: z.string(),
});
export type DroppedRow = z.infer<typeof DroppedRow>;
/** What was taken out of documents on reading: page headers, boilerplate. */
export const Removed = z.object({
  file: z.string(),
  what: z.string(),
  count: z.int(),
  examples: z.array(z.string()),
});
export type Removed = z.infer<typeof Removed>;
/** What is known of a row's meaning: "column "question" in 100% of the rows". */
export const ShapeFound = z.object({
  name: z.string(),
  rows: z.int(),
  evidence: z.array(z.string()),
  mapping: z.record(z.string(), z.string()),
});
export type ShapeFound = z.infer<typeof ShapeFound>;
/** Something found in a row. Each is a bit in the version's marks, and each but the personal ones a switch of cleaning. */
export const MARKS = [
  'near-duplicate',
  'leak',
  'contradiction',
  'refusal',
  'short',
  'language',
  'mail',
  'phone',
  'card',
  'id-number',
] as const;
export const Mark = z.enum(MARKS);
export type Mark = z.infer<typeof Mark>;
export const PersonalKind = z.enum(['mail', 'phone', 'card', 'id-number']);
export type PersonalKind = z.infer<typeof PersonalKind>;
/** How a version was made, in order, from the import to the last change. */
export const VersionStep = z.object({
  what: z.enum(['import', 'clean', 'edit', 'mask', 'chosen']),
  words: z.string(),
  at: Time,
});
export type VersionStep = z.infer<typeof VersionStep>;
export const Dataset = z.object({
  /** The first 12 hex digits of the content's SHA-256. */
  id: z.string(),
  project: z.string(),
  name: z.string(),
  kind: DatasetKind,
  /** Rows (pairs, conversations) or documents. */
  rows: z.int(),
  trainRows: z.int(),
  heldOutRows: z.int(),
  words: z.int(),
  bytes: z.int(),
  files: z.array(z.object({ name: z.string(), rows: z.int(), error: ErrorInfo.nullable() })),
  /** What was recognised, and by what; the one with most rows first. */
  shapes: z.array(ShapeFound),
  dropped: z.array(DroppedReason),
  removed: z.array(Removed),
  duplicates: z.int(),
  hash: z.string(),
  /** The version that this one was made from, and every step since the import. */
  parent: z.string().nullable(),
  steps: z.array(VersionStep),
  /** The job that made it. */
  job: z.string(),
  createdAt: Time,
});
export type Dataset = z.infer<typeof Dataset>;
export const ChatTurn = z.object({ role: z.enum(['system', 'user', 'assistant', 'tool']), content: z.string() });
export type ChatTurn = z.infer<typeof ChatTurn>;
/** Tools that the answers of a row may call, as OpenAI's API writes them. Calls stand in the answers, as JSON, one a line. */
export const Tools = z.array(z.record(z.string(), z.unknown())).max(200);
export type Tools = z.infer<typeof Tools>;
export const DatasetRow = z.object({
  index: z.int(),
  split: z.enum(['train', 'held-out']),
  /** File and line it came from. */
  source: z.string(),
  messages: z.array(ChatTurn).optional(),
  tools: Tools.optional(),
  text: z.string().optional(),
  /** Of a preference row: the answer that was not chosen. The chosen one is the last of `messages`. */
  rejected: z.string().optional(),
  marks: z.array(Mark),
  /** Where personal data stand: the text they are in (of `messages`, then `rejected`; 0 for `text`), and from where to where, in UTF-16 units. */
  personal: z.array(z.object({ part: z.int(), kind: PersonalKind, start: z.int(), end: z.int() })),
});
export type DatasetRow = z.infer<typeof DatasetRow>;
/** What a person writes into a row: a conversation or a text. */
export const RowContent = z.union([
  z.strictObject({
    messages: z.array(ChatTurn).min(2).max(1000),
    rejected: z.string().optional(),
    tools: Tools.optional(),
  }),
  z.strictObject({ text: z.string().min(1) }),
]);
export type RowContent = z.infer<typeof RowContent>;
/** A row as the model sees it: pieces of text in order. */
export const RenderedRow = z.object({
  tokens: z.array(z.object({ text: z.string(), id: z.int(), loss: z.boolean(), special: z.boolean() })),
  total: z.int(),
  labelled: z.int(),
  /** Index of the first token that would be cut, null where nothing is. */
  cutAt: z.int().nullable(),
});
export type RenderedRow = z.infer<typeof RenderedRow>;
export const TokenStats = z.object({
  tokens: z.int(),
  labelled: z.int(),
  longest: z.int(),
  median: z.int(),
  /** Rows that maxLength cuts. */
  truncated: z.int(),
  histogram: z.array(z.object({ upTo: z.int(), rows: z.int() })),
});
export type TokenStats = z.infer<typeof TokenStats>;

/** A file as it would be read, from its first rows. */
export const FilePreview = z.object({
  name: z.string(),
  bytes: z.int(),
  kind: DatasetKind.nullable(),
  shapes: z.array(ShapeFound),
  columns: z.array(z.object({ name: z.string(), examples: z.array(z.string()) })),
  /** Two readings are possible: which columns mean what must be said. */
  readings: z.array(z.object({ name: z.string(), mapping: z.record(z.string(), z.string()) })),
  rows: z.int(),
  dropped: z.array(DroppedReason),
  removed: z.array(Removed),
  sample: z.array(z.object({ messages: z.array(ChatTurn).optional(), text: z.string().optional() })),
  error: ErrorInfo.nullable(),
});
export type FilePreview = z.infer<typeof FilePreview>;
export const ImportPreview = z.object({ files: z.array(FilePreview), more: z.int() });
export type ImportPreview = z.infer<typeof ImportPreview>;
/** What was found in a version's rows, and what to do about it. */
export const Quality = z.object({
  rows: z.int(),
  checks: z.array(
    z.object({
      mark: Mark,
      title: z.string(),
      count: z.int(),
      advice: z.string(),
      /** Row numbers of the first few. */
      examples: z.array(z.int()),
    }),
  ),
  /** ISO 639-3 codes with names; `judged` rows were long enough to tell, `sampled` where not all were looked at. */
  languages: z.object({
    judged: z.int(),
    sampled: z.boolean(),
    found: z.array(z.object({ code: z.string(), name: z.string(), rows: z.int() })),
  }),
  /** Where answers are few and short: how often each is given. */
  labels: z.array(z.object({ label: z.string(), rows: z.int() })).nullable(),
  seconds: z.number(),
});
export type Quality = z.infer<typeof Quality>;

// ---- strategy
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

/** Ways of tuning tried on a slice, with the same budget of tokens, and measured on the same text. */
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

// ---- projects
export const PathState = z.enum(['done', 'current', 'running', 'open']);
export const PathStep = z.object({
  id: z.enum(['goal', 'data', 'model', 'tune', 'compare', 'export']),
  state: PathState,
  /** A few words under the step's name. */
  note: z.string(),
});
export type PathStep = z.infer<typeof PathStep>;
export const Project = z.object({
  slug: z.string(),
  name: z.string(),
  goal: z.string(),
  createdAt: Time,
  updatedAt: Time,
  /** Chosen base model. */
  model: z.string().nullable(),
  choice: Choice.nullable(),
  path: z.array(PathStep),
  /** One sentence: what to do next. */
  next: z.string(),
});
export type Project = z.infer<typeof Project>;

// ---- runs
export const Estimate = z.object({
  steps: z.int(),
  tokensPerStep: z.int(),
  /** Of the tokens of one pass, those that are general data (recipe's `rehearsal`). */
  rehearsalTokens: z.int(),
  memoryBytes: z.int(),
  freeMemoryBytes: z.int(),
  diskBytes: z.int(),
  freeDiskBytes: z.int(),
  /** Null until a rate was measured on this machine for this model. */
  seconds: z.number().nullable(),
  fits: z.boolean(),
  /** What would make it fit, best first. */
  suggestions: z.array(z.string()),
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

// ---- generation, comparison, export
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
  heldOutRows: z.int(),
  heldOutTokens: z.int(),
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
export const ExportFormat = z.enum(['adapter', 'gguf-adapter', 'safetensors', 'gguf', 'ollama', 'onnx']);
export type ExportFormat = z.infer<typeof ExportFormat>;
/** How the numbers are stored; those of GGUF by the names of llama.cpp, those of ONNX by the names of transformers.js. */
export const ExportType = z.enum([
  'f32',
  'f16',
  'bf16',
  'q8_0',
  'q6_k',
  'q5_k_m',
  'q5_1',
  'q5_0',
  'q4_k_m',
  'q4_1',
  'q4_0',
  'q8',
  'q4',
]);
export type ExportType = z.infer<typeof ExportType>;
/** The exported files, read from the disk again and asked what the run was asked. */
export const Proof = z.object({
  /** Who read the files for these figures. */
  by: z.string().default('Fettle'),
  prompts: z.int(),
  tokensCompared: z.int(),
  tokensEqual: z.int(),
  /** Of each prompt: tokens that were gone on with, and how many are the same before the first that differs. */
  replays: z.array(z.object({ tokens: z.int(), same: z.int() })).default([]),
  largestLogitDifference: z.number(),
  /** Loss on held-out rows in nats a token, of the run and of the files; `change` is relative, `allowed` is what the type may change. */
  likelihood: z
    .object({
      rows: z.int(),
      tokens: z.int(),
      run: z.number(),
      files: z.number(),
      change: z.number(),
      allowed: z.number(),
    })
    .nullable()
    .default(null),
  /** Other programs that read the files, and what they found. */
  readers: z.array(z.object({ name: z.string(), found: z.string(), agrees: z.boolean() })).default([]),
  /** Of a chat template that was translated: conversations in which both gave the same text. */
  template: z.object({ conversations: z.int(), equal: z.int() }).nullable().default(null),
  /** `within`: not every token is the same, and the likelihood changes less than the type may. */
  verdict: z.enum(['equal', 'within', 'different']),
});
export type Proof = z.infer<typeof Proof>;
/** How one program loads an export: lines for a terminal or a script. */
export const HowTo = z.object({ client: z.string(), lines: z.string() });
export type HowTo = z.infer<typeof HowTo>;
export const Export = z.object({
  id: z.string(),
  project: z.string(),
  run: z.string(),
  checkpoint: z.string(),
  format: ExportFormat,
  dtype: ExportType,
  /** Of an adapter: the base lies beside it, its weights in 32 bits. */
  withBase: z.boolean().default(false),
  state: JobState,
  stage: z.string(),
  /** The folder, on this machine: shown, never written into the export. */
  folder: z.string(),
  bytes: z.int(),
  files: z.array(z.object({ name: z.string(), bytes: z.int() })),
  /** What to type in other programs, with the files as they lie on this machine. */
  howTo: z.array(HowTo).default([]),
  /** Of an export that failed its proof too: what was found stays to be looked at. */
  proof: Proof.nullable(),
  error: ErrorInfo.nullable(),
  createdAt: Time,
});
export type Export = z.infer<typeof Export>;

// ---- talking to models
/** What one model said in a turn of a conversation. */
export const ChatAnswer = z.object({
  target: z.string(),
  /** "Run 3, step 120", as it was when it was asked. */
  label: z.string(),
  /** Its pieces come on topic `generation:<id>`; null once it is over. */
  generation: z.string().nullable(),
  answer: Answer.nullable(),
  /** Tokens of what it was given and said, of those that it can read. */
  context: z.object({ used: z.int(), most: z.int() }).nullable(),
  error: ErrorInfo.nullable(),
});
export type ChatAnswer = z.infer<typeof ChatAnswer>;
export const ChatSummary = z.object({
  /** `<project>-chat-<number>`. */
  id: z.string(),
  project: z.string(),
  title: z.string(),
  /** Who was asked last. */
  targets: z.array(z.string()),
  turns: z.int(),
  updatedAt: Time,
});
export type ChatSummary = z.infer<typeof ChatSummary>;
/** A conversation with one model, or the same with up to four: each keeps to what it said itself. */
export const Chat = ChatSummary.omit({ turns: true }).extend({
  system: z.string(),
  sampling: Sampling,
  turns: z.array(z.object({ number: z.int(), prompt: z.string(), at: Time, answers: z.array(ChatAnswer) })),
});
export type Chat = z.infer<typeof Chat>;

/** A table or list of inputs, looked into before anything is answered. */
export const InputFile = z.object({
  path: z.string(),
  name: z.string(),
  rows: z.int(),
  columns: z.array(z.object({ name: z.string(), example: z.string() })),
  /** What the model is given; null where it must be said. */
  column: z.string().nullable(),
  /** A column whose text follows after a blank line, as in training. */
  more: z.string().nullable(),
  /** Where the answers could be written: beside it, under a name that is free. */
  out: z.string(),
});
export type InputFile = z.infer<typeof InputFile>;
/** A file of inputs, answered row by row in the background. */
export const AnswerFile = z.object({
  /** `answers-<number>`. */
  id: z.string(),
  project: z.string().nullable(),
  target: z.string(),
  label: z.string(),
  input: z.string(),
  /** The same rows with the answers added. */
  out: z.string(),
  column: z.string(),
  answerColumn: z.string(),
  system: z.string(),
  sampling: Sampling,
  state: JobState,
  /** Null where no job was ever made. */
  job: z.string().nullable(),
  rows: z.int(),
  /** Rows that are written, the next three among them. */
  done: z.int(),
  empty: z.int(),
  /** Rows without an answer: they could not be read, or are too long for the model. */
  failed: z.int(),
  tokensPerSecond: z.number().nullable(),
  secondsLeft: z.number().nullable(),
  error: ErrorInfo.nullable(),
  createdAt: Time,
});
export type AnswerFile = z.infer<typeof AnswerFile>;

/** What votes between two say: shares of those that chose one. */
export const VoteCount = z.object({
  votes: z.int(),
  ties: z.int(),
  /** Votes for the one that leads and for the other, and the leader's share with its exact 95% margin; null before any choice. */
  leads: z.int(),
  trails: z.int(),
  share: Measured.nullable(),
  /** Two-sided p of the sign test. */
  p: z.number(),
  settled: z.boolean(),
  /** Choices that would settle it if it goes on like this; null where nothing can be said, or it is settled. */
  more: z.int().nullable(),
});
export type VoteCount = z.infer<typeof VoteCount>;
export const Side = z.enum(['one', 'two']);
export type Side = z.infer<typeof Side>;
export const Vote = z.enum(['one', 'two', 'tie']);
export type Vote = z.infer<typeof Vote>;
const BlindModel = z.object({ target: z.string(), label: z.string(), votes: z.int() });
/** Two models judged without their names. Nothing in it says which is which before `reveal`. */
export const BlindTest = z.object({
  /** `<project>-blind-<number>`. */
  id: z.string(),
  project: z.string(),
  /** Where the prompts come from, in words. */
  source: z.string(),
  prompts: z.int(),
  system: z.string(),
  sampling: Sampling,
  count: VoteCount,
  /** How often each place was chosen. */
  places: z.object({ one: z.int(), two: z.int() }),
  /** The next to judge; null while it is being answered, and at the end. */
  next: z.object({ number: z.int(), prompt: z.string(), one: z.string(), two: z.string() }).nullable(),
  /** Why the next pair does not come. */
  error: ErrorInfo.nullable(),
  createdAt: Time,
  reveal: z
    .object({
      at: Time,
      /** The one that has more votes first. */
      models: z.tuple([BlindModel, BlindModel]),
      /** Choices for the first of them, by the place it had. */
      byPlace: z.object({ one: z.object({ won: z.int(), of: z.int() }), two: z.object({ won: z.int(), of: z.int() }) }),
      sentence: z.string(),
      items: z.array(
        z.object({
          number: z.int(),
          prompt: z.string(),
          one: z.object({ target: z.string(), text: z.string() }),
          two: z.object({ target: z.string(), text: z.string() }),
          vote: Vote,
          why: z.string(),
          at: Time,
        }),
      ),
    })
    .nullable(),
});
export type BlindTest = z.infer<typeof BlindTest>;

/** The local address at which other programs ask a model as they would ask OpenAI's. */
export const Endpoint = z.object({
  on: z.boolean(),
  /** "http://127.0.0.1:8642/v1"; null while it is off. */
  address: z.string().nullable(),
  token: z.string().nullable(),
  models: z.array(z.object({ id: z.string(), label: z.string() })),
  requests: z.int(),
  lastUsedAt: Time.nullable(),
});
export type Endpoint = z.infer<typeof Endpoint>;

// ---- machine
export const Machine = z.object({
  cpu: z.string(),
  cores: z.int(),
  threads: z.int(),
  memoryBytes: z.int(),
  freeMemoryBytes: z.int(),
  diskFreeBytes: z.int(),
  homeBytes: z.int(),
});
export type Machine = z.infer<typeof Machine>;
export const DoctorReport = z.object({
  versions: z.record(z.string(), z.string()),
  machine: Machine,
  checks: z.array(z.object({ name: z.string(), ok: z.boolean(), found: z.string(), hint: z.string().nullable() })),
});
export type DoctorReport = z.infer<typeof DoctorReport>;
