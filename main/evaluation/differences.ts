/** @file A comparison in words: the verdict on each difference, and what differs between the runs behind it. */
import type { ComparisonResult, Measured, Run } from '../contract/entities.ts';

type Result = ComparisonResult;
type Difference = Result['differences'][number];

/** Lower loss is better; a margin that holds zero is no difference. */
export function verdictOf({ low, high }: Measured): Difference['verdict'] {
  return high < 0 ? 'better' : low > 0 ? 'worse' : 'no-difference';
}

const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;

export function sentenceOf(label: string, against: string, loss: Measured, rows: number): string {
  const margin = (loss.high - loss.low) / 2;
  const figures = `${signed(loss.value)} ± ${margin.toFixed(3)} nats a token, on ${rows} held-out rows`;
  switch (verdictOf(loss)) {
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
