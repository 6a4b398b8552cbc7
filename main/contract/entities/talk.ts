/** @file Talking to models: conversations, files of inputs, blind tests, the local address. */
import { z } from 'zod';
import { JobState } from '../training.ts';
import { ErrorInfo, Measured, Time } from './common.ts';
import { Answer, Sampling } from './evaluation.ts';

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
  /** Unseen rows that were left out since one of the two, or a stage under it, was trained on their content; `known`: all is known that they were trained on. Null where the prompts are a person's own, and of tests from before that was looked for. */
  learned: z.object({ rows: z.int(), known: z.boolean() }).nullable().default(null),
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
