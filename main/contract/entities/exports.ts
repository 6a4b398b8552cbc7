/** @file Runs handed over: formats, types, proof. */
import { z } from 'zod';
import { JobState } from '../training.ts';
import { ErrorInfo, Time } from './common.ts';

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
/** Loss on held-out rows in nats a token, of the run and of the files; `change` is relative, `allowed` is what the type may change. */
const FilesLikelihood = z.object({
  rows: z.int(),
  tokens: z.int(),
  run: z.number(),
  files: z.number(),
  change: z.number(),
  allowed: z.number(),
});
/** The exported files, read from the disk again and asked what the run was asked. */
export const Proof = z.object({
  /** Who read the files for these figures. */
  by: z.string().default('Fettle'),
  /** When the run in Fettle gave what the files are held against; `kept`: for an earlier export, and nothing has changed since. */
  asked: z.object({ at: Time, kept: z.boolean() }).nullable().default(null),
  prompts: z.int(),
  tokensCompared: z.int(),
  tokensEqual: z.int(),
  /** Of each prompt: tokens that were gone on with, and how many are the same before the first that differs. */
  replays: z.array(z.object({ tokens: z.int(), same: z.int() })).default([]),
  largestLogitDifference: z.number(),
  likelihood: FilesLikelihood.nullable().default(null),
  /** Other programs that read the files, and what they found; the likelihood of as many of the rows as were asked of them. */
  readers: z
    .array(
      z.object({
        name: z.string(),
        found: z.string(),
        agrees: z.boolean(),
        likelihood: FilesLikelihood.nullable().default(null),
      }),
    )
    .default([]),
  /** The files' own tokenizer, template and stops, asked for the prompts, the rows and some conversations; null where they hold none. */
  text: z
    .object({ texts: z.int(), faults: z.array(z.string()) })
    .nullable()
    .default(null),
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
  /** Of an adapter: its own stage only. */
  alone: z.boolean().default(false),
  state: JobState,
  stage: z.string(),
  /** The folder, on this machine: shown, never written into the export. */
  folder: z.string(),
  /** The folder was named, and is not the project's own. */
  named: z.boolean().default(false),
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
