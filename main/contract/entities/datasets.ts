/** @file Versions of data, their rows, and what was found in them. */
import { z } from 'zod';
import { ErrorInfo, Time } from './common.ts';

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
