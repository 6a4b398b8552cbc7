/** @file The one typed API: every procedure by name with its input and output, every topic of events. The hosts, the command and the workbench know nothing else of each other. */
import { z } from 'zod';
import {
  Advice,
  Answers,
  Answer,
  AnswerFile,
  BlindTest,
  Chat,
  ChatSummary,
  ChatTurn,
  Check,
  Choice,
  Comparison,
  ComparisonSummary,
  Dataset,
  DatasetKind,
  DatasetRow,
  DoctorReport,
  DroppedRow,
  Endpoint,
  ErrorInfo,
  Export,
  ExportFormat,
  ExportType,
  ImportPreview,
  InputFile,
  Job,
  LearningCurve,
  Machine,
  Mark,
  Model,
  PersonalKind,
  Pilot,
  Plan,
  Project,
  Quality,
  Question,
  RenderedRow,
  RowContent,
  Run,
  Sampling,
  SuiteName,
  Target,
  TokenStats,
  Vote,
} from './entities.ts';
import type { ErrorShape } from './errors.ts';
import { Strategy, Way } from './recipe.ts';
import { TrainEvent } from './training.ts';

const slug = z.string().min(1).max(120);
const none = z.strictObject({});
const paths = z.array(z.string().min(1)).min(1).max(1000);
/** Column of the file by its meaning: {instruction: 'question', response: 'answer'}. */
const columnMap = z.record(z.string(), z.string());
/** Longer than so many tokens of a model, where they were counted. */
const Longer = z.strictObject({ model: slug, tokens: z.int().min(8) });
const done = z.object({ ok: z.literal(true) });
const overrides = z.record(z.string(), z.unknown());
/** What would be trained on what, with `set` in place of what is recommended. */
const planRequest = z.strictObject({
  project: slug,
  model: slug,
  dataset: slug.optional(),
  strategy: Strategy.optional(),
  set: overrides.default({}),
});
const of = <I extends z.ZodType, O extends z.ZodType>(input: I, output: O): { input: I; output: O } => ({
  input,
  output,
});

/** A numbered event as it travels and as it is kept. */
export const Numbered = z.object({ seq: z.int(), at: z.string(), event: z.unknown() });
export type Numbered = z.infer<typeof Numbered>;
export const NumberedTrainEvent = z.object({ seq: z.int(), at: z.string(), event: TrainEvent });
export type NumberedTrainEvent = z.infer<typeof NumberedTrainEvent>;

export const api = {
  'app.info': of(
    none,
    z.object({ version: z.string(), home: z.string(), host: z.enum(['electron', 'web', 'command']), machine: Machine }),
  ),
  'app.doctor': of(none, DoctorReport),
  /** Lists a folder of this machine, so that a person can pick files in either host. Null path: the home folder of the person. */
  'app.browse': of(
    z.strictObject({ path: z.string().nullable(), purpose: z.enum(['data', 'model', 'folder']) }),
    z.object({
      path: z.string(),
      parent: z.string().nullable(),
      entries: z.array(z.object({ name: z.string(), path: z.string(), folder: z.boolean(), bytes: z.int() })),
    }),
  ),

  'projects.create': of(
    z.strictObject({ name: z.string().trim().min(1).max(80), goal: z.string().max(500).default('') }),
    Project,
  ),
  /** The sample project with its two datasets; the one that is there already, else a new one. */
  'projects.sample': of(none, Project),
  'projects.list': of(none, z.array(Project)),
  'projects.show': of(z.strictObject({ project: slug }), Project),
  'projects.update': of(
    z.strictObject({
      project: slug,
      name: z.string().trim().min(1).max(80).optional(),
      goal: z.string().max(500).optional(),
      model: z.string().nullable().optional(),
    }),
    Project,
  ),
  'projects.delete': of(z.strictObject({ project: slug }), done),

  'models.list': of(none, z.array(Model)),
  'models.show': of(z.strictObject({ model: slug }), Model),
  /** A Hugging Face folder or a GGUF file; it is copied into the library. */
  'models.add': of(z.strictObject({ path: z.string().min(1), name: z.string().max(120).optional() }), Job),
  /** The starter model, fetched once; `bundled`: the tiny one that comes with Fettle, which needs no network. */
  'models.starter': of(
    z.strictObject({ bundled: z.boolean().default(false) }),
    z.object({ model: Model.nullable(), job: Job.nullable() }),
  ),
  'models.delete': of(z.strictObject({ model: slug }), done),

  /** What files hold, from their first rows, before anything is kept. */
  'datasets.preview': of(
    z.strictObject({ paths, map: columnMap.optional(), maps: z.record(z.string(), columnMap).optional() }),
    ImportPreview,
  ),
  /** Reads files in the background and keeps one version for each kind of data in them: examples, documents, preferences. */
  'datasets.import': of(
    z.strictObject({
      project: slug,
      paths,
      name: z.string().max(120).optional(),
      kind: DatasetKind.optional(),
      map: columnMap.optional(),
      /** The same for single files, by their names as the preview gives them; before `map`. */
      maps: z.record(z.string(), columnMap).optional(),
      /** Share held out, by document or conversation. */
      heldOut: z.number().min(0.01).max(0.5).default(0.1),
    }),
    Job,
  ),
  'datasets.list': of(z.strictObject({ project: slug }), z.array(Dataset)),
  'datasets.show': of(z.strictObject({ project: slug, dataset: slug }), Dataset),
  'datasets.rows': of(
    z.strictObject({
      project: slug,
      dataset: slug,
      offset: z.int().min(0).default(0),
      limit: z.int().min(1).max(200).default(50),
      search: z.string().max(200).optional(),
      mark: Mark.optional(),
      longerThan: Longer.optional(),
    }),
    /** `total` is null where the search stopped at the page's end: there is more. */
    z.object({ total: z.int().nullable(), rows: z.array(DatasetRow) }),
  ),
  'datasets.dropped': of(
    z.strictObject({
      project: slug,
      dataset: slug,
      offset: z.int().min(0).default(0),
      limit: z.int().min(1).max(1000).default(50),
      reason: z.string().optional(),
    }),
    z.object({ total: z.int(), rows: z.array(DroppedRow) }),
  ),
  /** What was found in the rows; a job looks where nobody has yet. */
  'datasets.quality': of(
    z.strictObject({ project: slug, dataset: slug }),
    z.object({ quality: Quality.nullable(), job: Job.nullable() }),
  ),
  /** A new version without the rows that carry any of these marks, or are longer than `longerThan` tokens of a model. */
  'datasets.clean': of(
    z.strictObject({
      project: slug,
      dataset: slug,
      drop: z.array(Mark).default([]),
      longerThan: Longer.optional(),
    }),
    Job,
  ),
  /** A new version with rows changed, removed (null) and added. */
  'datasets.edit': of(
    z.strictObject({
      project: slug,
      dataset: slug,
      changes: z
        .array(z.strictObject({ index: z.int().min(0), row: RowContent.nullable() }))
        .max(10000)
        .default([]),
      add: z.array(RowContent).max(10000).default([]),
    }),
    Job,
  ),
  /** A new version with personal data of these kinds replaced by its kind in brackets. */
  'datasets.mask': of(z.strictObject({ project: slug, dataset: slug, kinds: z.array(PersonalKind).min(1) }), Job),
  /** A new version of pairs from the chosen answers of preference rows. */
  'datasets.chosen': of(z.strictObject({ project: slug, dataset: slug }), Job),
  'datasets.render': of(
    z.strictObject({
      project: slug,
      dataset: slug,
      model: slug,
      index: z.int().min(0).default(0),
      /** In place of the row as it is kept: one that is being written. */
      content: RowContent.optional(),
      maxLength: z.int().min(8).default(512),
    }),
    RenderedRow,
  ),
  'datasets.tokens': of(
    z.strictObject({ project: slug, dataset: slug, model: slug, maxLength: z.int().min(8).default(512) }),
    /** A job counts them where nobody has yet. */
    z.object({ stats: TokenStats.nullable(), job: Job.nullable() }),
  ),
  'datasets.delete': of(z.strictObject({ project: slug, dataset: slug }), done),

  'strategy.questions': of(none, z.array(Question)),
  'strategy.answers': of(z.strictObject({ project: slug }), Answers),
  'strategy.answer': of(z.strictObject({ project: slug, answers: Answers }), Answers),
  'strategy.advise': of(z.strictObject({ project: slug, model: slug.optional(), answers: Answers.optional() }), Advice),
  /** Measures what a model already does on the newest held-out examples and prose; the advice is renewed by it. */
  'strategy.measure': of(z.strictObject({ project: slug, model: slug.optional() }), Job),
  'strategy.choose': of(
    z.strictObject({ project: slug, strategy: Way, reason: z.string().max(1000).default('') }),
    Choice,
  ),

  /** Tries the ways of tuning that the data allow on a slice. Minutes choose the budget, by the speed of this machine; tokens set it. */
  'pilots.start': of(
    z.strictObject({
      project: slug,
      model: slug.optional(),
      minutes: z.number().min(1).max(600).default(6),
      tokens: z.int().min(256).max(1e9).optional(),
    }),
    Pilot,
  ),
  'pilots.list': of(z.strictObject({ project: slug }), z.array(Pilot)),
  'pilots.show': of(z.strictObject({ pilot: slug }), Pilot),
  /** Trains on a quarter, half and all of a slice of a dataset (the newest of the chosen strategy unless named), to tell whether more would help. Tokens are for each training. */
  'curves.start': of(
    z.strictObject({
      project: slug,
      model: slug.optional(),
      dataset: slug.optional(),
      minutes: z.number().min(1).max(600).default(10),
      tokens: z.int().min(256).max(1e9).optional(),
    }),
    LearningCurve,
  ),
  'curves.list': of(z.strictObject({ project: slug }), z.array(LearningCurve)),
  'curves.show': of(z.strictObject({ curve: slug }), LearningCurve),

  /** The recommended recipe with reasons and what it takes; `set` changes values. */
  'runs.plan': of(planRequest, Plan),
  /** Takes the first steps of what would be started, keeps nothing of them, and from then on `runs.plan` tells the time by them. */
  'runs.calibrate': of(planRequest, Job),
  /** With way 'staged' two runs: non-instruct on the prose, and over it, after it, instruct on the examples. The first comes back. */
  'runs.start': of(
    z.strictObject({
      project: slug,
      model: slug,
      dataset: slug.optional(),
      strategy: Way.optional(),
      /** A run, or RUN@CHECKPOINT, whose adapter lies merged under this one's. */
      over: z.string().max(200).optional(),
      /** A whole recipe, or values over the recommended one. */
      recipe: overrides.optional(),
      set: overrides.default({}),
      /** Of both stages: values that hold for one of them alone, over `set`. */
      stages: z.partialRecord(Strategy, overrides).default({}),
    }),
    Run,
  ),
  /** The same model, data and recipe with changes, as a new run. */
  'runs.clone': of(z.strictObject({ run: slug, set: overrides.default({}) }), Run),
  'runs.list': of(z.strictObject({ project: slug.optional() }), z.array(Run)),
  'runs.show': of(z.strictObject({ run: slug }), Run),
  /** Everything the run reported after number `after`; `limit` thins steps evenly so that long runs draw at once. */
  'runs.events': of(
    z.strictObject({ run: slug, after: z.int().min(0).default(0), limit: z.int().min(100).max(20000).default(4000) }),
    z.object({ last: z.int(), events: z.array(NumberedTrainEvent) }),
  ),
  'runs.pause': of(z.strictObject({ run: slug }), Run),
  /** Resumes a paused, interrupted or failed run from its last checkpoint. */
  'runs.resume': of(z.strictObject({ run: slug }), Run),
  /** Stops and keeps what was learned. */
  'runs.stop': of(z.strictObject({ run: slug }), Run),
  /** Stops and ends as cancelled. */
  'runs.cancel': of(z.strictObject({ run: slug }), Run),
  /** Goes on with a finished run for more epochs or steps. */
  'runs.continue': of(
    z.strictObject({
      run: slug,
      epochs: z.number().positive().max(1000).optional(),
      steps: z.int().positive().optional(),
    }),
    Run,
  ),
  'runs.delete': of(z.strictObject({ run: slug }), done),
  /** Brings an adapter in that was made elsewhere, the folder of a PEFT LoRA adapter of this model; the job's subject is the run that comes of it. */
  'runs.import': of(
    z.strictObject({ project: slug, model: slug, path: z.string().min(1), name: z.string().max(120).optional() }),
    Job,
  ),

  'jobs.list': of(z.strictObject({ active: z.boolean().default(false) }), z.array(Job)),
  'jobs.show': of(z.strictObject({ job: slug }), Job),
  'jobs.cancel': of(z.strictObject({ job: slug }), Job),

  /** Starts an answer; its pieces come on topic `generation:<id>`, the whole with the last one. */
  'generate.start': of(
    z.strictObject({
      target: Target,
      prompt: z.string().min(1).max(100000),
      system: z.string().max(20000).optional(),
      history: z.array(ChatTurn).max(200).optional(),
      raw: z.boolean().default(false),
      sampling: Sampling.prefault({}),
      /** Texts that end the answer. */
      stop: z.array(z.string().min(1).max(200)).max(16).default([]),
    }),
    z.object({ id: z.string() }),
  ),
  'generate.stop': of(z.strictObject({ id: z.string() }), done),

  'chats.list': of(z.strictObject({ project: slug }), z.array(ChatSummary)),
  'chats.show': of(z.strictObject({ chat: slug }), Chat),
  /** One more turn, of a new conversation where none is named. What a model did not say itself it is told as the first one said it. */
  'chats.send': of(
    z.strictObject({
      project: slug,
      chat: slug.optional(),
      targets: z.array(Target).min(1).max(4),
      prompt: z.string().trim().min(1).max(100000),
      system: z.string().max(20000).default(''),
      sampling: Sampling.prefault({}),
    }),
    Chat,
  ),
  /** The last turn asked again, or of another model. */
  'chats.again': of(z.strictObject({ chat: slug, target: Target }), Chat),
  'chats.stop': of(z.strictObject({ chat: slug }), done),
  'chats.rename': of(z.strictObject({ chat: slug, title: z.string().trim().min(1).max(120) }), Chat),
  'chats.delete': of(z.strictObject({ chat: slug }), done),

  /** What a file of inputs holds, and which column is the prompt. */
  'answers.look': of(z.strictObject({ path: z.string().min(1) }), InputFile),
  /** Answers each row of a file and writes them, with the answers, to another. */
  'answers.start': of(
    z.strictObject({
      project: slug.optional(),
      target: Target,
      input: z.string().min(1),
      /** Left out: beside the input, as `NAME.answered.EXT`. */
      out: z.string().min(1).optional(),
      column: z.string().max(1000).optional(),
      system: z.string().max(20000).default(''),
      sampling: Sampling.prefault({}),
      /** Writes over a file that is there already. */
      force: z.boolean().default(false),
    }),
    AnswerFile,
  ),
  /** Goes on where it was cancelled or interrupted. */
  'answers.resume': of(z.strictObject({ answers: slug }), AnswerFile),
  'answers.list': of(z.strictObject({ project: slug.optional() }), z.array(AnswerFile)),
  'answers.show': of(z.strictObject({ answers: slug }), AnswerFile),

  /** Two models answer the same prompts; their names are kept until the end. Prompts are held-out questions of a dataset, a file's, or those given. */
  'blind.start': of(
    z.strictObject({
      project: slug,
      targets: z.tuple([Target, Target]),
      dataset: slug.optional(),
      file: z.string().min(1).optional(),
      prompts: z.array(z.string().trim().min(1).max(20000)).max(1000).optional(),
      /** Pairs at most. */
      most: z.int().min(1).max(1000).default(60),
      system: z.string().max(20000).default(''),
      sampling: Sampling.prefault({}),
    }),
    BlindTest,
  ),
  'blind.list': of(z.strictObject({ project: slug }), z.array(BlindTest)),
  'blind.show': of(z.strictObject({ blind: slug }), BlindTest),
  'blind.vote': of(
    z.strictObject({ blind: slug, number: z.int().min(1), vote: Vote, why: z.string().max(1000).default('') }),
    BlindTest,
  ),
  /** Takes the last vote back. */
  'blind.undo': of(z.strictObject({ blind: slug }), BlindTest),
  /** Shows the names; no votes are taken after it. */
  'blind.reveal': of(z.strictObject({ blind: slug }), BlindTest),
  'blind.export': of(
    z.strictObject({ blind: slug, format: z.enum(['csv', 'json']) }),
    z.object({ name: z.string(), text: z.string() }),
  ),
  'blind.delete': of(z.strictObject({ blind: slug }), done),

  'endpoint.show': of(none, Endpoint),
  /** Opens the local address for these, or changes for which it is open. */
  'endpoint.start': of(
    z.strictObject({ targets: z.array(Target).min(1).max(16), port: z.int().min(0).max(65535).default(0) }),
    Endpoint,
  ),
  'endpoint.renew': of(none, Endpoint),
  'endpoint.stop': of(none, Endpoint),

  /** Measures one model alone, or each further one against the first. */
  'evaluation.compare': of(
    z.strictObject({
      project: slug,
      targets: z.array(Target).min(1).max(6),
      dataset: slug.optional(),
      /** General skills and other text take some minutes each model. */
      suites: z.array(SuiteName).min(1).max(4).default(['held-out', 'task']),
      /** Of suite 'task': held-out questions that each answers, and that are judged. */
      samples: z.int().min(0).max(200).default(20),
      /** Left out: what fits the expected answers. */
      checks: z.array(Check).max(8).default([]),
    }),
    Comparison,
  ),
  'evaluation.list': of(z.strictObject({ project: slug }), z.array(ComparisonSummary)),
  'evaluation.show': of(z.strictObject({ comparison: slug }), Comparison),
  /** The report for the desk on a run, as one HTML document; on its newest comparison unless one is named. */
  'evaluation.report': of(
    z.strictObject({ run: slug, comparison: slug.optional() }),
    z.object({ html: z.string(), name: z.string() }),
  ),

  'exports.start': of(
    z.strictObject({
      run: slug,
      /** A checkpoint's name, `best` or `last`. Left out: the best. */
      checkpoint: z.string().optional(),
      format: ExportFormat,
      /** Left out: what is recommended for the format. */
      dtype: ExportType.optional(),
      /** Of a run that stands on another: its own adapter only, instead of both as one. */
      alone: z.boolean().default(false),
      /** With a PEFT adapter: the base beside it, its weights as the adapter was tuned on them, in 32 bits. */
      withBase: z.boolean().default(false),
      out: z.string().optional(),
    }),
    Export,
  ),
  'exports.list': of(z.strictObject({ project: slug }), z.array(Export)),
  'exports.show': of(z.strictObject({ export: slug }), Export),
  /** Off the list. Its files go with it where they lie in the project's own folder; a folder that was named stays as it is. */
  'exports.delete': of(z.strictObject({ export: slug }), done),
} as const;

export type Api = typeof api;
export type ProcedureName = keyof Api;
/** What a caller may give (defaults left out). */
export type InputOf<N extends ProcedureName> = z.input<Api[N]['input']>;
/** What a handler gets (defaults filled in). */
export type ParsedInputOf<N extends ProcedureName> = z.output<Api[N]['input']>;
export type OutputOf<N extends ProcedureName> = z.output<Api[N]['output']>;

/** What is told on each topic. `run:` events are kept with the run; the others while the host lives. */
export const GenerationEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('piece'), text: z.string() }),
  z.object({
    type: z.literal('done'),
    answer: Answer,
    /** Of what it was given, and what the model can read in all. */
    promptTokens: z.int(),
    contextTokens: z.int(),
  }),
  z.object({
    type: z.literal('error'),
    error: ErrorInfo,
  }),
]);
export type GenerationEvent = z.infer<typeof GenerationEvent>;
/** Something changed: ask again. `changed` topics keep every view true without copies of state. */
export const ChangedEvent = z.object({
  type: z.literal('changed'),
  what: z.enum([
    'project',
    'model',
    'dataset',
    'strategy',
    'run',
    'comparison',
    'export',
    'pilot',
    'curve',
    'calibration',
    'chat',
    'answers',
    'blind',
    'endpoint',
  ]),
  id: z.string(),
  project: z.string().nullable(),
});
export type ChangedEvent = z.infer<typeof ChangedEvent>;
export const JobEvent = z.object({ type: z.literal('job'), job: Job });
export type JobEvent = z.infer<typeof JobEvent>;

/** Topics: `run:<id>` TrainEvent, `generation:<id>` GenerationEvent, `jobs` JobEvent, `changes` ChangedEvent. */
export type Topic = `run:${string}` | `generation:${string}` | 'jobs' | 'changes';
export type EventOf<T extends Topic> = T extends `run:${string}`
  ? TrainEvent
  : T extends `generation:${string}`
    ? GenerationEvent
    : T extends 'jobs'
      ? JobEvent
      : ChangedEvent;

/** The client of the API, whatever carries it. `call` rejects with FettleError. */
export interface Client {
  call<N extends ProcedureName>(name: N, input: InputOf<N>): Promise<OutputOf<N>>;
  /** Events numbered above `after`, first those that were missed; returns how to stop. */
  subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void): () => void;
}

/** What a transport carries back: never a rejection. */
export type Reply = { readonly ok: true; readonly data: unknown } | { readonly ok: false; readonly error: ErrorShape };
