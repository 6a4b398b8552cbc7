/** @file Numbers and tables in words that people read in a terminal. */

export { bytes } from '../contract/bytes.ts';
export { count } from '../contract/figures.ts';

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export const loss = (value: number | null): string => (value === null ? '–' : value.toFixed(4));

/** Columns as wide as their longest cell; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What a command that lists says: a table with its head, or the sentence for none. */
export const listed = <T>(
  list: readonly T[],
  none: string,
  head: readonly string[],
  row: (each: T) => readonly string[],
): string => (list.length === 0 ? none : table([head, ...list.map(row)]));

/** Broken at blanks to lines of at most `width`, each after `indent`. */
export function wrap(text: string, indent = '', width = 92): string {
  return text
    .split('\n')
    .map((paragraph) => {
      const lines: string[] = [];
      let line = '';
      for (const word of paragraph.split(' ')) {
        if (line !== '' && indent.length + line.length + 1 + word.length > width) {
          lines.push(line);
          line = word;
        } else line = line === '' ? word : `${line} ${word}`;
      }
      return [...lines, line].map((each) => indent + each).join('\n');
    })
    .join('\n');
}
