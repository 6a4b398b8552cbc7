/** @file Tables: CSV and TSV with whatever delimiter, quotes and encoding they have, and Parquet. */
import { createReadStream } from 'node:fs';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FettleError } from '../../contract/errors.ts';
import { csvRecords, fits, type CsvRecord } from './csv.ts';
import { MAX_LINE_BYTES } from './json.ts';
import type { RawRecord, ReadOptions, SourceFile } from './record.ts';
import { utf8Lines, decode, empty, encodingOf, readHead } from './text.ts';

/** More columns than that are not rows of text. */
const MAX_COLUMNS = 1000;
const DELIMITERS = [',', ';', '\t', '|'];
const BLOCK_ROWS = 1000;
/** Of a Parquet file, unpacked, that much is read at once. */
const PARQUET_BYTES = 32 * 2 ** 20;
/** Characters. */
const LONGEST_NAME = 100;

export async function* readCsv(file: SourceFile, { onBytes }: ReadOptions): AsyncIterable<readonly RawRecord[]> {
  const head = await readHead(file.path);
  if (head.length === 0) throw empty(file.name);
  const { encoding, broken } = await encodingOfTable(file.path, head);
  // The cut end may split a character.
  const begun = decode(head.subarray(0, head.length - (head.length % 2)), file.name, lenient(encoding));
  const told = /^\ufeff?sep=(.)\r?\n/i.exec(begun)?.[1];
  const delimiter = told ?? delimiterOf(begun);
  let header: readonly string[] | undefined;
  const records = csvRecords(decoded(file.path, encoding, onBytes), {
    delimiter,
    longest: MAX_LINE_BYTES,
    width: () => header?.length ?? null,
  });
  for await (const block of records) {
    const rows: RawRecord[] = [];
    for (const record of block) {
      if ('bad' in record) rows.push({ kind: 'bad', reason: record.bad, line: record.line, raw: record.raw });
      // Excel's own first line, which says how the cells are parted.
      else if (told !== undefined && record.line === 1) continue;
      else if (!header) {
        const named = areNames(record.cells);
        header = headerOf(named ? record.cells : record.cells.map(() => ''), file.name);
        if (!named) rows.push(rowOf(header, record, delimiter, broken));
      } else rows.push(rowOf(header, record, delimiter, broken));
    }
    for (let from = 0; from < rows.length; from += BLOCK_ROWS) yield rows.slice(from, from + BLOCK_ROWS);
  }
  if (!header) throw empty(file.name);
}

/** `broken` where some rows are not UTF-8 in a file that is. */
async function encodingOfTable(
  path: string,
  head: Buffer,
): Promise<{ encoding: ReturnType<typeof encodingOf>; broken: boolean }> {
  const encoding = encodingOf(head);
  if (encoding.startsWith('utf-16')) return { encoding, broken: false };
  const { isOther, bad } = await utf8Lines(path);
  return isOther ? { encoding: 'windows-1252', broken: false } : { encoding: 'utf-8', broken: bad > 0 };
}

const lenient = (encoding: ReturnType<typeof encodingOf>): typeof encoding =>
  encoding === 'utf-8' ? 'windows-1252' : encoding;

async function* decoded(path: string, encoding: string, onBytes: ReadOptions['onBytes']): AsyncIterable<string> {
  const decoder = new TextDecoder(encoding);
  let read = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    onBytes?.((read += chunk.length));
    yield decoder.decode(chunk, { stream: true }).replaceAll('\0', '');
  }
  yield decoder.decode();
}

/** The first line of a table without a head is a row: sentences are no names of columns. They are then called by number, and the person is asked. */
const areNames = (cells: readonly string[]): boolean =>
  !cells.some((cell) => cell.length > LONGEST_NAME || /[.?!]\s*$/.test(cell));

function headerOf(names: readonly string[], file: string): string[] {
  if (names.length > MAX_COLUMNS)
    throw new FettleError(
      'INPUT_INVALID',
      `${file} has ${names.length.toLocaleString('en')} columns; Fettle reads tables of up to ${MAX_COLUMNS.toLocaleString('en')}.`,
      'Keep the columns that hold the question and the answer.',
    );
  const seen = new Map<string, number>();
  return names.map((name, i) => {
    const own = name.trim() || `column ${i + 1}`;
    const times = (seen.get(own) ?? 0) + 1;
    seen.set(own, times);
    return times === 1 ? own : `${own} ${times}`;
  });
}

function rowOf(
  header: readonly string[],
  { cells, line }: Extract<CsvRecord, { cells: unknown }>,
  delimiter: string,
  broken: boolean,
): RawRecord {
  const bad = (reason: string): RawRecord => ({ kind: 'bad', reason, line, raw: cells.join(delimiter).slice(0, 2000) });
  // Where a byte was no UTF-8, this sign took its place.
  if (broken && cells.some((cell) => cell.includes('\ufffd'))) return bad('bytes that are not UTF-8');
  if (!fits(cells, header.length))
    return bad(cells.length > header.length ? 'more cells than columns' : 'fewer cells than columns');
  return { kind: 'value', value: Object.fromEntries(header.map((name, i) => [name, cells[i]])), line };
}

/** The one that splits the first lines into most cells, the same number in each. */
function delimiterOf(head: string): string {
  const lines = head
    .split(/\r?\n/)
    .slice(0, 20)
    .filter((line) => line !== '');
  const score = (delimiter: string): number => {
    const counts = lines.map((line) => unquoted(line).split(delimiter).length - 1);
    const first = counts[0] ?? 0;
    return first === 0 ? 0 : first * (counts.filter((count) => count === first).length / counts.length) ** 2;
  };
  return DELIMITERS.map((delimiter) => ({ delimiter, score: score(delimiter) })).reduce((a, b) =>
    b.score > a.score ? b : a,
  ).delimiter;
}
const unquoted = (line: string): string => line.replace(/"(?:[^"]|"")*"/g, '');

export async function* readParquet(file: SourceFile, { onBytes }: ReadOptions): AsyncIterable<readonly RawRecord[]> {
  const buffer = await asyncBufferFromFile(file.path);
  let line = 0;
  try {
    const metadata = await parquetMetadataAsync(buffer);
    const columns = metadata.schema[0]?.num_children ?? 0;
    if (columns > MAX_COLUMNS)
      headerOf(
        Array.from({ length: columns }, () => ''),
        file.name,
      );
    const total = Number(metadata.num_rows);
    for (const [rowStart, rowEnd] of parquetBlocks(metadata)) {
      const rows = await parquetReadObjects({ file: buffer, metadata, compressors, rowStart, rowEnd });
      for (let from = 0; from < rows.length; from += BLOCK_ROWS)
        yield rows.slice(from, from + BLOCK_ROWS).map((row) => ({ kind: 'value', value: plain(row), line: ++line }));
      onBytes?.(Math.round((file.bytes * rowEnd) / total));
    }
  } catch (error) {
    if (error instanceof FettleError) throw error;
    throw new FettleError(
      'FORMAT_INVALID',
      `${file.name} is not a whole Parquet file: ${(error as Error).message.slice(0, 200)}`,
      'Copy it again, or save it as JSONL.',
    );
  }
}

/** From row to row: a group at a time, since each part of one costs unpacking the whole; a very large one in parts all the same. */
function* parquetBlocks({ row_groups: groups }: FileMetaData): Iterable<readonly [from: number, to: number]> {
  let start = 0;
  for (const { num_rows: count, total_byte_size: size } of groups) {
    const rows = Number(count);
    const step = Math.max(BLOCK_ROWS, Math.ceil(rows / Math.max(1, Math.ceil(Number(size) / PARQUET_BYTES))));
    for (let from = 0; from < rows; from += step) yield [start + from, start + Math.min(rows, from + step)];
    start += rows;
  }
}

/** Numbers beyond 2^53 as text, dates as ISO 8601, bytes as nothing that could be read. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return null;
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}
