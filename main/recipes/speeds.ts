/** @file How fast this machine multiplies in each precision: measured once, kept in the home for as long as the machine is the same. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { Precision, Recipe } from '../contract/recipe.ts';
import type { Core } from '../core/context.ts';
import type { Speeds } from '../engine/quantise/kernels.ts';
import { runtimeVersion } from '../engine/version.ts';

const Kept = z.strictObject({ machine: z.string(), speeds: z.strictObject({ fp32: z.number(), int8: z.number() }) });

/**
 * Null where it could not be measured: then float32 is what is left.
 * @param again measures anew, for what is kept may be from a busy hour.
 */
export type MeasuredSpeeds = (again?: boolean) => Promise<Speeds | null>;

/** Products that are faster by less are not worth rounding for: what else a step does stays as slow. */
const WORTH_IT = 1.5;

/** What `auto` is on a machine of these speeds. */
export function settledPrecision(wanted: Recipe['precision'], speeds: Speeds | null): Precision {
  if (wanted !== 'auto') return wanted;
  return speeds && speeds.int8 >= WORTH_IT * speeds.fp32 ? 'int8' : 'fp32';
}

export function createSpeeds({ home, threads, workers, log }: Core): MeasuredSpeeds {
  const machine = `${cpus()[0]?.model ?? process.arch}, ${threads} threads, onnxruntime ${runtimeVersion()}`;
  const file = join(home.root, 'speeds.json');
  let known: Promise<Speeds | null> | undefined;

  async function measure(): Promise<Speeds | null> {
    try {
      const speeds = await workers.run<never, Speeds>('speeds', { threads }, () => undefined).result;
      await writeFile(file, JSON.stringify({ machine, speeds } satisfies z.infer<typeof Kept>));
      return speeds;
    } catch (error) {
      log.warn('the speed of products could not be measured', { error: String(error) });
      return null;
    }
  }
  return (again = false) => {
    if (again) known = measure();
    return (known ??= Promise.resolve(keptFor(file, machine) ?? measure()));
  };
}

function keptFor(file: string, machine: string): Speeds | null {
  try {
    const kept = Kept.parse(JSON.parse(readFileSync(file, 'utf8')));
    return kept.machine === machine ? kept.speeds : null;
  } catch {
    return null;
  }
}
