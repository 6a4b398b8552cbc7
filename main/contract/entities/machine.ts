/** @file This machine. */
import { z } from 'zod';
import { DEVICES } from '../recipe.ts';

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
/** What a run can be trained on. */
export const DeviceFound = z.object({
  /** As a recipe names it. */
  device: z.enum(DEVICES),
  name: z.string(),
  memoryBytes: z.number().nullable(),
  /** Billions of operations a second of float32 products; null where it was not measured. */
  fp32: z.number().nullable(),
  /** False where it is only a program that acts as one: `auto` never takes that. */
  real: z.boolean(),
});
export type DeviceFound = z.infer<typeof DeviceFound>;
export const DoctorReport = z.object({
  versions: z.record(z.string(), z.string()),
  machine: Machine,
  devices: z.array(DeviceFound),
  checks: z.array(z.object({ name: z.string(), ok: z.boolean(), found: z.string(), hint: z.string().nullable() })),
});
export type DoctorReport = z.infer<typeof DoctorReport>;
