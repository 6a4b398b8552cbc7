/** @file Numbers, sizes and times as people read them: always with a unit, a margin where there is one. */

export { percent, signed } from '../../main/contract/figures.ts';

const groups = new Intl.NumberFormat('en');
export const count = (value: number): string => groups.format(value);

/** "1 row", "2 rows". */
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

export const loss = (value: number | null | undefined): string =>
  value === null || value === undefined ? 'none yet' : value.toFixed(3);

export function bytes(value: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 && unit < 3 ? 0 : 1;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** "135 M", "1.24 B": how many numbers a model has. */
export function parameters(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} B`;
  if (value >= 1e6) return `${Math.round(value / 1e6)} M`;
  return value >= 1e3 ? `${Math.round(value / 1e3)} k` : count(value);
}

/** Exact to the second: "19 min 32 s". */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** An estimate in rounded words: "about 11 min". */
export function roughly(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return 'not known yet';
  if (seconds < 8) return 'a few seconds';
  if (seconds < 55) return `about ${Math.round(seconds / 5) * 5} s`;
  if (seconds < 3600) return `about ${Math.max(1, Math.round(seconds / 60))} min`;
  const hours = Math.floor(seconds / 3600);
  const rest = Math.round((seconds % 3600) / 600) * 10;
  return rest === 60 ? `about ${hours + 1} h` : `about ${hours} h${rest ? ` ${rest}` : ''}`;
}

/** "0.0002" as a person writes it; very small numbers as 5.8e-5. */
export function small(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1).replace('.0e', 'e');
  return String(Number(value.toPrecision(3)));
}

/** A tick of an axis, as short as it can be. */
export const tick = (value: number): string =>
  Math.abs(value) >= 10000 ? `${small(value / 1000)} k` : small(Number(value.toPrecision(6)));

/** Half the width of an interval. */
export const margin = (of: { readonly low: number; readonly high: number }, digits: number): string =>
  ((of.high - of.low) / 2).toFixed(digits);

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const dayAndYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

/** "Today, 09:12", "18 Nov", "18 Nov 2024". */
export function when(iso: string, now: Date = new Date()): string {
  const date = new Date(iso);
  if (date.toDateString() === now.toDateString()) return `Today, ${time.format(date)}`;
  return date.getFullYear() === now.getFullYear() ? day.format(date) : dayAndYear.format(date);
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
