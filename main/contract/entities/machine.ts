/** @file This machine. */
import { z } from 'zod';

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
