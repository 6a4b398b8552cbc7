/** @file What all entities are made of: times, errors, figures with their margins. */
import { z } from 'zod';

export const Time = z.string();
export const ErrorInfo = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });
export type ErrorInfo = z.infer<typeof ErrorInfo>;

/** A figure with its 95% margin. `low`..`high` is the interval. */
export const Measured = z.object({ value: z.number(), low: z.number(), high: z.number() });
export type Measured = z.infer<typeof Measured>;
