/** @file The columns of a run as the charts take them: curves with different x values side by side. */
import uPlot from 'uplot';
import { smooth, type RunSeries, type XAxis } from '../state/run-series.ts';
import { count, duration } from '../ui/format.ts';

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

/** x, then the unseen loss of each run. */
export function unseenColumns(runs: readonly RunSeries[], axis: XAxis): uPlot.AlignedData {
  return uPlot.join(
    runs.map((series) => [
      series.evals.map((each) => series.place(each.step, axis)),
      series.evals.map((each) => each.loss),
    ]),
  );
}
