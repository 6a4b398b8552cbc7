/** @file The records of a CSV text as it streams in (RFC 4180, and what programs make of it). A record that is broken costs its first line only. */

export type CsvRecord =
  | { readonly cells: readonly string[]; readonly line: number; readonly lines: number }
  | { readonly bad: string; readonly line: number; readonly raw: string };

interface Options {
  readonly delimiter: string;
  /** Characters; a longer record is broken. */
  readonly longest: number;
  /** Cells of a whole record: one over several lines that has another number swallowed lines by a stray quote. Null until the head is read. */
  readonly width: () => number | null;
}

const QUOTE = 34;
const LF = 10;
const CR = 13;
const RAW_KEPT = 2000;
const NEVER_CLOSED = 'a quote that is never closed';

/** Records by blocks, one for each piece of text that comes in. */
export async function* csvRecords(
  pieces: AsyncIterable<string>,
  options: Options,
): AsyncGenerator<readonly CsvRecord[]> {
  const reader = new Records(options);
  for await (const piece of pieces) yield reader.more(piece);
  yield reader.end();
}

class Records {
  readonly #options: Options;
  #text = '';
  /** Where the record that is read begins. */
  #at = 0;
  #line = 1;
  /** Within a line that is too long, until it ends. */
  #skipping = false;

  constructor(options: Options) {
    this.#options = options;
  }

  more(piece: string): CsvRecord[] {
    this.#text = this.#text.slice(this.#at) + piece;
    this.#at = 0;
    return [...this.#records(false)];
  }

  end(): CsvRecord[] {
    return [...this.#records(true)];
  }

  *#records(atEnd: boolean): Iterable<CsvRecord> {
    if (this.#skipping && !this.#skipLine()) return;
    while (this.#at < this.#text.length) {
      const found = readRecord(this.#text, this.#at, this.#options.delimiter, atEnd);
      if (found === null) {
        const whole = this.#text.length - this.#at <= this.#options.longest;
        if (whole && !atEnd) return;
        yield this.#broken(whole ? NEVER_CLOSED : `a row longer than ${this.#options.longest / 2 ** 20} MB`);
        if (this.#skipping) return;
        continue;
      }
      const { cells, next, lines, stray } = found;
      const width = this.#options.width();
      if (stray || (lines > 1 && width !== null && !fits(cells, width))) {
        yield this.#broken(NEVER_CLOSED);
        continue;
      }
      const record = { cells, line: this.#line, lines };
      this.#at = next;
      this.#line += lines;
      // A line with nothing in it is no record.
      if (cells.length > 1 || cells[0] !== '') yield record;
    }
  }

  /** Leaves the first line of what cannot be read out, and goes on after it. */
  #broken(bad: string): CsvRecord {
    const line = this.#line;
    const start = this.#at;
    const raw = (/^.*/.exec(this.#text.slice(start, start + RAW_KEPT))?.[0] ?? '').trimEnd();
    this.#skipping = true;
    this.#skipLine();
    return { bad, line, raw };
  }

  #skipLine(): boolean {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end + 1;
    if (end < 0) return false;
    this.#line++;
    this.#skipping = false;
    return true;
  }
}

/** Spreadsheets write separators for columns that have no name: empty cells beyond the last one count for nothing. */
export const fits = (cells: readonly string[], width: number): boolean =>
  cells.length === width || (cells.length > width && cells.slice(width).every((cell) => cell.trim() === ''));

interface Found {
  readonly cells: string[];
  readonly next: number;
  readonly lines: number;
  /** A quote closed on another line and text went on behind it: no program writes that, so the first one was never meant to open. */
  readonly stray: boolean;
}

/** The record that begins there; null where its end is not in the text. */
function readRecord(text: string, start: number, delimiter: string, atEnd: boolean): Found | null {
  const separator = delimiter.charCodeAt(0);
  const cells: string[] = [];
  let lines = 1;
  let stray = false;
  let at = start;
  for (;;) {
    const begin = at;
    let quoted: string | null = null;
    if (text.charCodeAt(at) === QUOTE) {
      const close = closingQuote(text, at + 1);
      // The quote at the very end may be the first of two.
      if (close < 0 || (close === text.length - 1 && !atEnd)) return null;
      quoted = text.slice(at + 1, close).replaceAll('""', '"');
      at = close + 1;
    }
    const after = at;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === separator || code === LF || code === CR) break;
      at++;
    }
    if (at === text.length && !atEnd) return null;
    // More after the closing quote: the quotes were part of the text.
    const cell = quoted !== null && at === after ? quoted : text.slice(begin, at);
    if (quoted !== null) {
      const within = newlines(text, begin, after);
      lines += within;
      stray ||= within > 0 && at > after;
    }
    cells.push(cell);
    if (at === text.length) return { cells, next: at, lines, stray };
    if (text.charCodeAt(at) === separator) {
      at++;
      continue;
    }
    if (text.charCodeAt(at) === CR) {
      if (at + 1 === text.length && !atEnd) return null;
      if (text.charCodeAt(at + 1) === LF) at++;
    }
    return { cells, next: at + 1, lines, stray };
  }
}

/** A quote that is not doubled. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 2))
    if (text.charCodeAt(at + 1) !== QUOTE) return at;
  return -1;
}

function newlines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
