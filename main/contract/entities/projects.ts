/** @file Projects, and how far each has come. */
import { z } from 'zod';
import { Time } from './common.ts';
import { Choice } from './strategy.ts';

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
