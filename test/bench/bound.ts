/** @file The least time that a step can take: its products, at the speed at which this machine multiplies. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Precision } from '../../main/contract/recipe.ts';
import type { ModelSpec } from '../../main/engine/architectures/spec.ts';
import type { Speeds } from '../../main/engine/quantise/kernels.ts';

/** Billions of operations a second of so many threads that each multiply by themselves. */
export async function peakSpeeds(threads: number): Promise<Speeds> {
  const one = async (): Promise<Speeds> => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'peak.ts')]);
    return JSON.parse(stdout) as Speeds;
  };
  const all = await Promise.all(Array.from({ length: threads }, one));
  const sum = (of: keyof Speeds): number => all.reduce((total, speeds) => total + speeds[of], 0);
  return { fp32: sum('fp32'), int8: sum('int8') };
}

/**
 * Seconds of a LoRA step on all linears with loss on every token. A multiplication and an addition are two operations;
 * a frozen weight is multiplied twice (forward, and for the gradient of its input), an adapter's three times, and of
 * attention's two products, which come to six, a causal row needs half.
 */
export function leastSeconds(
  { hidden, vocab, layers, heads, headDim, projections }: ModelSpec,
  { rows, length, rank, precision }: { rows: number; length: number; rank: number; precision: Precision },
  peak: Speeds,
): number {
  const linears = projections.flatMap(({ from, parts }) => parts.map(({ to }) => ({ from, to })));
  const frozen = hidden * vocab + layers * linears.reduce((sum, { from, to }) => sum + from * to, 0);
  const adapters = layers * linears.reduce((sum, { from, to }) => sum + rank * (from + to), 0);
  const attention = layers * heads * headDim * ((length + 1) / 2);
  const tokens = rows * length;
  const exact = tokens * 2 * (3 * adapters + 6 * attention);
  return ((tokens * 2 * 2 * frozen) / peak[precision === 'int8' ? 'int8' : 'fp32'] + exact / peak.fp32) / 1e9;
}
