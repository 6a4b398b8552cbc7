/** @file Cells of tables as text (RFC 4180), which no spreadsheet takes for a formula. */

/** What spreadsheets run when a cell begins with it: a file that is opened must not send anything anywhere. */
const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?(?:\d[\d.,]*|\.\d+)(?:e[+-]?\d+)?%?$/i;

/** A text that a spreadsheet would take for a formula has an apostrophe before it; numbers stay as they are. */
export function csvCell(value: unknown, delimiter = ','): string {
  if (value === undefined || value === null) return '';
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value as string);
  const safe = typeof value === 'string' && FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return safe.includes(delimiter) || /["\r\n]/.test(safe) || safe !== safe.trim()
    ? `"${safe.replaceAll('"', '""')}"`
    : safe;
}
