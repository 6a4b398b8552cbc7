/** @file Base models in the library. */
import { z } from 'zod';
import { Time } from './common.ts';

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
