/** @file Sizes in words, the same in messages and in the command. */

/** Decimal units, one digit behind the point, two from gigabytes on: "96.6 MB", "2.04 GB". */
export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** power).toFixed(power > 2 ? 2 : 1)} ${units[power - 1]}`;
}
