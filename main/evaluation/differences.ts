/** @file A comparison in words: the verdict on each difference, and what differs between the runs behind it. */
import type { ComparisonResult, DifferenceVerdict, Measured, Run } from '../contract/entities.ts';
import { signed } from '../contract/figures.ts';
import { hasMargin, lossMargin } from '../contract/margin.ts';
import { measure, type RowLoss } from './bootstrap.ts';
import { signFlip } from './significance.ts';

type Result = ComparisonResult;

/** From here on a difference is told from chance. */
const LEVEL = 0.05;

/**
 * Losses of models over the same rows, the first against each other one; lower is better. As with shares of answers a
 * difference needs both, a margin without zero and the test: of few rows the bootstrap's margin alone is too narrow.
 * The verdicts are those of a question that is asked alone.
 */
export function compareLosses(models: readonly (readonly RowLoss[])[]): {
  losses: Measured[];
  differences: Measured[];
  verdicts: DifferenceVerdict[];
  ps: number[];
} {
  const measured = measure(models);
  const [first, ...others] = models;
  // Sums, since a row counts by its tokens in the mean too.
  const ps = others.map((rows) => signFlip(rows.map(({ sum }, row) => sum - first![row]!.sum)));
  const verdicts = measured.differences.map(({ low, high }, i): DifferenceVerdict =>
    ps[i]! > LEVEL || (low <= 0 && high >= 0) ? 'no-difference' : high < 0 ? 'better' : 'worse',
  );
  return { ...measured, verdicts, ps };
}

export function sentenceOf(
  label: string,
  against: string,
  { loss, verdict }: Pick<Result['differences'][number], 'loss' | 'verdict'>,
  rows: number,
): string {
  const figures = hasMargin(rows)
    ? `${signed(loss.value, 3)} ${lossMargin(loss, rows)} nats a token, on ${rows} held-out rows`
    : `${signed(loss.value, 3)} nats a token, on one held-out row, which gives no margin`;
  switch (verdict) {
    case 'better':
      return `${label} is better than ${against} on rows it has not seen (${figures}).`;
    case 'worse':
      return `${label} is worse than ${against} on rows it has not seen (${figures}).`;
    case 'no-difference':
      return `No difference between ${label} and ${against} that can be told from chance (${figures}).`;
  }
}

export interface Side {
  readonly modelName: string;
  readonly run: Run | null;
  readonly checkpoint: string | null;
}

const NONE = '–';

/** Model, strategy, data with their version, and every value of the recipes, side by side; a base model has none. */
export function settingsOf(sides: readonly Side[]): Result['settings'] {
  const line = (key: string, of: (side: Side) => string): Result['settings'][number] => {
    const values = sides.map(of);
    // Only those that were tuned can differ in how.
    const told = values.filter((_, i) => sides[i]?.run || key === 'model');
    return { key, values, same: new Set(told).size <= 1 };
  };
  const ofRun = (key: string, of: (run: Run) => string): Result['settings'][number] =>
    line(key, ({ run }) => (run ? of(run) : NONE));
  const keys = new Set(sides.flatMap(({ run }) => Object.keys(run?.recipe ?? {})));
  for (const told of ['version', 'strategy']) keys.delete(told);
  return [
    line('model', ({ modelName }) => modelName),
    ofRun('strategy', ({ strategy, over }) =>
      over ? `${strategy}, as a second stage` : (strategy ?? 'made elsewhere'),
    ),
    ofRun('dataset', ({ datasetName, dataset }) => (dataset === null ? NONE : `${datasetName}, ${dataset}`)),
    ofRun('stands on', ({ over }) => (over ? [over.run, over.checkpoint ?? ''].join(' ').trim() : 'the base')),
    line('checkpoint', ({ checkpoint }) => checkpoint ?? NONE),
    ofRun('step', ({ step }) => String(step)),
    ...[...keys].map((key) => ofRun(key, ({ recipe }) => shown(key, new Map(Object.entries(recipe ?? {})).get(key)))),
  ];
}

function shown(key: string, value: unknown): string {
  // The folder of an adapter is this machine's; its last part is enough to tell it by.
  if (key === 'initAdapter' && typeof value === 'string') return value.split(/[\\/]/).at(-1) ?? NONE;
  return value === undefined ? NONE : Array.isArray(value) ? value.join(', ') : String(value);
}
