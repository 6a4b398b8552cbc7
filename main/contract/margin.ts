/** @file The margin of a loss in words, alike wherever the loss stands: of one row nothing says how far another would have been. */

interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Whether so many rows give a margin. */
export const hasMargin = (rows: number): boolean => rows > 1;

/** "± 0.012", half the width of the interval; "of one row" where there is none. */
export const lossMargin = ({ low, high }: Interval, rows: number): string =>
  hasMargin(rows) ? `± ${((high - low) / 2).toFixed(3)}` : 'of one row';
