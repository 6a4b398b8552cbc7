/** @file Shares and differences in words, alike in verdicts, sentences, report and page. */
import type { Measured } from './entities.ts';

export const count = (value: number): string => Math.round(value).toLocaleString('en-GB');

/** "31%". */
export const percent = (share: number): string => `${Math.round(100 * share)}%`;

/** "+31", "−0.043": with its sign, and a minus as it is set in print; what rounds to nothing has none. */
export function signed(value: number, digits: number): string {
  const size = Math.abs(value).toFixed(digits);
  return Number(size) === 0 ? size : `${value < 0 ? '−' : '+'}${size}`;
}

/** Shares of one as points, of which 100 are all. */
export const points = ({ value, low, high }: Measured): Measured => ({
  value: 100 * value,
  low: 100 * low,
  high: 100 * high,
});
