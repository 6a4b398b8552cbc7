/** @file Work in the background. */
import { z } from 'zod';
import { JobState } from '../training.ts';
import { ErrorInfo, Time } from './common.ts';

export const JobKind = z.enum([
  'train',
  'adapter',
  'model',
  'starter',
  'import',
  'inspect',
  'tokens',
  'derive',
  'measure',
  'calibrate',
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
