/** @file How answered rows are written: JSON Lines, CSV or TSV. */
import { extname } from 'node:path';
import { csvCell } from '../contract/csv.ts';
import { FettleError } from '../contract/errors.ts';
import type { Row } from '../datasets/map-row.ts';

export interface OutputForm {
  /** First line of the file; empty where there is none. */
  readonly head: string;
  line(row: Row): string;
}

/** @param columns of the file, in order; JSON Lines need none. @throws FORMAT_UNKNOWN */
export function outputForm(path: string, columns: readonly string[]): OutputForm {
  const end = extname(path).toLowerCase();
  if (end === '.jsonl' || end === '.ndjson') return { head: '', line: (row) => `${JSON.stringify(row)}\n` };
  if (end !== '.csv' && end !== '.tsv')
    throw new FettleError('FORMAT_UNKNOWN', `Answers cannot be written as ${end || 'a file without an ending'}.`, HINT);
  const delimiter = end === '.csv' ? ',' : '\t';
  return {
    head: delimited(columns, delimiter),
    line: (row) =>
      delimited(
        columns.map((name) => row[name]),
        delimiter,
      ),
  };
}
const HINT = 'Name a file that ends in .jsonl, .csv or .tsv.';

/** A line of a table. */
export const delimited = (cells: readonly unknown[], delimiter = ','): string =>
  `${cells.map((cell) => csvCell(cell, delimiter)).join(delimiter)}\n`;

/** `notes.csv` becomes `notes.answered.csv`; what cannot be written in its own form becomes JSON Lines. */
export function besideInput(path: string): string {
  const end = extname(path);
  const form = ['.jsonl', '.ndjson', '.csv', '.tsv'].includes(end.toLowerCase()) ? end : '.jsonl';
  return `${path.slice(0, path.length - end.length)}.answered${form}`;
}

/** The same, with a number where that is there already. */
export function freeBeside(path: string, taken: (path: string) => boolean): string {
  const first = besideInput(path);
  const end = extname(first);
  const numbered = (n: number): string => `${first.slice(0, first.length - end.length)}-${n}${end}`;
  let out = first;
  for (let n = 2; taken(out); n++) out = numbered(n);
  return out;
}

/** A name that the rows do not have yet. */
export function freeColumn(wanted: string, columns: readonly string[]): string {
  if (!columns.includes(wanted)) return wanted;
  for (let n = 1; ; n++) {
    const name = n === 1 ? `model_${wanted}` : `model_${wanted}_${n}`;
    if (!columns.includes(name)) return name;
  }
}
