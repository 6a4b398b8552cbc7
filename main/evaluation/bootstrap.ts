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

/** Mean loss a token of each model, with its 95% interval, and the difference of each to the first. Rows are those of all models in the same order. */
export function measure(models: readonly (readonly RowLoss[])[]): { losses: Measured[]; differences: Measured[] } {
  const rows = models[0]?.length ?? 0;
  const random = new Random(SEED);
  const drawn = models.map(() => new Float64Array(RESAMPLES));
  // Flat, since this loop runs thousands of times over every row.
  const counts = Float64Array.from(models[0] ?? [], ({ count }) => count);
  const losses = models.map((each) => Float64Array.from(each, ({ sum }) => sum));
  const picked = new Uint32Array(rows);
  for (let sample = 0; sample < RESAMPLES; sample++) {
    let count = 0;
    for (let i = 0; i < rows; i++) {
      picked[i] = random.int(rows);
      count += counts[picked[i]!]!;
    }
    for (let m = 0; m < drawn.length; m++) {
      const of = losses[m]!;
      let sum = 0;
      for (let i = 0; i < rows; i++) sum += of[picked[i]!]!;
      drawn[m]![sample] = count === 0 ? 0 : sum / count;
    }
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
