/** @file Margins of error by the bootstrap (Efron 1979): rows are drawn again and again, with both models' losses of a row kept together. */
import type { Measured } from '../contract/entities.ts';
import { Random } from '../engine/random.ts';

/** What a model made of one held-out row: summed negative log likelihood in nats, over labelled tokens. */
export interface RowLoss {
  readonly sum: number;
  readonly count: number;
}

const RESAMPLES = 2000;
const SEED = 20240607;

/** The seed is always the same, so figures over the same number of rows share one drawing; up to so many rows it is kept, at most 16 MB. */
const MOST_KEPT_ROWS = 2000;
const MOST_KEPT = 8;
const kept = new Map<number, Uint32Array>();

/** Which rows each resample holds: the function gives those of the next one, as a list that holds them from `from` on. */
function resamples(rows: number): () => { readonly picked: Uint32Array; readonly from: number } {
  const known = kept.get(rows);
  const random = new Random(SEED);
  const draw = (picked: Uint32Array): Uint32Array => {
    for (let i = 0; i < picked.length; i++) picked[i] = random.int(rows);
    return picked;
  };
  if (!known && rows > MOST_KEPT_ROWS) {
    const one = new Uint32Array(rows);
    return () => ({ picked: draw(one), from: 0 });
  }
  const all = known ?? draw(new Uint32Array(rows * RESAMPLES));
  if (!known) {
    if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value!);
    kept.set(rows, all);
  }
  let at = -rows;
  return () => ({ picked: all, from: (at += rows) });
}

/** Mean loss a token of each model, with its 95% interval, and the difference of each to the first. Rows are those of all models in the same order. */
export function measure(models: readonly (readonly RowLoss[])[]): { losses: Measured[]; differences: Measured[] } {
  const rows = models[0]?.length ?? 0;
  const next = resamples(rows);
  const drawn = models.map(() => new Float64Array(RESAMPLES));
  // Flat, since this loop runs thousands of times over every row.
  const counts = Float64Array.from(models[0] ?? [], ({ count }) => count);
  const losses = models.map((each) => Float64Array.from(each, ({ sum }) => sum));
  for (let sample = 0; sample < RESAMPLES; sample++) {
    const { picked, from } = next();
    const count = sumOf(counts, picked, from);
    for (let m = 0; m < drawn.length; m++)
      drawn[m]![sample] = count === 0 ? 0 : sumOf(losses[m]!, picked, from) / count;
  }
  const means = models.map(meanLoss);
  const [first] = drawn;
  return {
    losses: drawn.map((values, m) => ({ value: means[m]!, ...interval(values) })),
    differences: drawn.slice(1).map((values, m) => ({
      value: means[m + 1]! - means[0]!,
      ...interval(values.map((value, sample) => value - first![sample]!)),
    })),
  };
}

/** Of one resample. */
function sumOf(values: Float64Array, picked: Uint32Array, from: number): number {
  let sum = 0;
  for (let i = from; i < from + values.length; i++) sum += values[picked[i]!]!;
  return sum;
}

/** Mean negative log likelihood of a token, in nats. */
export function meanLoss(rows: readonly RowLoss[]): number {
  const tokens = rows.reduce((sum, row) => sum + row.count, 0);
  return tokens === 0 ? 0 : rows.reduce((sum, row) => sum + row.sum, 0) / tokens;
}

/** The middle 95% of the drawn values. */
function interval(values: Float64Array): { low: number; high: number } {
  const sorted = values.toSorted();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { low: at(0.025), high: at(0.975) };
}
