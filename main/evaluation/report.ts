/** @file A comparison in words: the verdict on each difference, and what differs between the runs behind it. */
import type { Comparison, Measured, Run } from '../contract/entities.ts';

type Result = NonNullable<Comparison['result']>;
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
  readonly datasetName: string | null;
}

/** Model, data and every value of the recipes, side by side; a base model has none. */
export function settingsOf(sides: readonly Side[]): Result['settings'] {
  const keys = new Set(sides.flatMap((side) => Object.keys(side.run?.recipe ?? {})));
  const line = (key: string, values: string[]): Result['settings'][number] => {
    // Only those that were tuned can differ in how.
    const told = values.filter((_, i) => sides[i]?.run || key === 'model');
    return { key, values, same: new Set(told).size <= 1 };
  };
  const none = '–';
  return [
    line(
      'model',
      sides.map((side) => side.modelName),
    ),
    line(
      'dataset',
      sides.map((side) => side.datasetName ?? none),
    ),
    line(
      'checkpoint',
      sides.map((side) => side.checkpoint ?? none),
    ),
    line(
      'step',
      sides.map((side) => (side.run ? String(side.run.step) : none)),
    ),
    ...[...keys].map((key) =>
      line(
        key,
        sides.map((side) => {
          const value = side.run?.recipe
            ? Object.entries(side.run.recipe).find(([name]) => name === key)?.[1]
            : undefined;
          // The folder of an adapter is this machine's; its last part is enough to tell it by.
          if (key === 'initAdapter' && typeof value === 'string') return value.split(/[\\/]/).at(-1) ?? none;
          return value === undefined ? none : Array.isArray(value) ? value.join(', ') : String(value);
        }),
      ),
    ),
  ];
}
