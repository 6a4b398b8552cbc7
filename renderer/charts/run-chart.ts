/** @file The columns of a run as the charts take them: curves with different x values side by side. */
import uPlot from 'uplot';
import { smooth, type RunSeries, type XAxis } from '../state/run-series.ts';
import { count, duration } from '../ui/format.ts';
import type { ChartSeries } from './draw.ts';

export const X_AXES: readonly { readonly value: XAxis; readonly label: string }[] = [
  { value: 'step', label: 'Step' },
  { value: 'tokens', label: 'Tokens' },
  { value: 'seconds', label: 'Time' },
];
export const xFormat = (axis: XAxis): ((value: number) => string) =>
  axis === 'seconds'
    ? duration
    : axis === 'tokens'
      ? (value) => (value >= 10000 ? `${count(value / 1000)} k` : count(value))
      : count;

/** x, training loss as reported, the same smoothed, loss on unseen rows. */
export function lossColumns(series: RunSeries, axis: XAxis, smoothing: number): uPlot.AlignedData {
  const { columns, evals } = series;
  const x = columns[axis];
  return uPlot.join([
    [x, columns.loss, smooth(columns.loss, smoothing)],
    [evals.map((each) => series.place(each.step, axis)), evals.map((each) => each.loss)],
  ]);
}

/** Told apart by colour and by dash; after the fourth run both begin again in another pairing. */
const TOKENS = ['--series-1', '--series-3', '--series-4', '--series-2'] as const;
const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]] as const;

/** Runs over one axis: x, then of each run its training loss (faint as it came, firm when smoothed) and its unseen loss, as asked. */
export function overlay(
  runs: readonly RunSeries[],
  names: readonly string[],
  { axis, curves, smoothing }: { axis: XAxis; curves: 'unseen' | 'training' | 'both'; smoothing: number },
): { series: ChartSeries[]; data: uPlot.AlignedData; diamonds: number[] } {
  const format = (value: number): string => value.toFixed(3);
  const series: ChartSeries[] = [];
  const tables: uPlot.AlignedData[] = [];
  for (const [i, run] of runs.entries()) {
    const { columns, evals } = run;
    const look = { token: TOKENS[i % 4]!, dash: DASHES[(i + Math.floor(i / 4)) % 4]!, format };
    const name = names[i] ?? `Run ${i + 1}`;
    if (curves !== 'unseen') {
      series.push({ ...look, label: `${name}, training`, width: 1, alpha: 0.3, silent: true });
      series.push({ ...look, label: `${name}, training smoothed`, width: 1.5, alpha: curves === 'both' ? 0.7 : 1 });
      tables.push([columns[axis], columns.loss, smooth(columns.loss, smoothing)]);
    }
    if (curves !== 'training') {
      series.push({ ...look, label: curves === 'both' ? `${name}, unseen` : name, width: 2, points: true });
      tables.push([evals.map((each) => run.place(each.step, axis)), evals.map((each) => each.loss)]);
    }
  }
  return {
    series,
    data: tables.length > 0 ? uPlot.join(tables) : [[]],
    diamonds: runs.flatMap((run) => run.checkpoints.map(({ step }) => run.place(step, axis))),
  };
}
