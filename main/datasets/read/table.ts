/** @file Tables: CSV and TSV with whatever delimiter, quotes and encoding they have, and Parquet. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FettleError } from '../../contract/errors.ts';
import { MAX_LINE_BYTES } from './json.ts';
import type { RawRecord, ReadOptions, SourceFile } from './record.ts';
import { decode, empty, encodingOf, readHead } from './text.ts';

/** More columns than that are not rows of text. */
const MAX_COLUMNS = 1000;
const DELIMITERS = [',', ';', '\t', '|'];
const BLOCK_ROWS = 1000;

export async function* readCsv(file: SourceFile, { onBytes }: ReadOptions): AsyncIterable<readonly RawRecord[]> {
  const head = await readHead(file.path);
  if (head.length === 0) throw empty(file.name);
  const encoding = encodingOf(head);
  // The cut end may split a character.
  const delimiter = delimiterOf(
    decode(head.subarray(0, head.length - (head.length % 2)), file.name, lenient(encoding)),
  );
  const parser = parse({
    delimiter,
    bom: true,
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_LINE_BYTES,
    info: true,
  });
  const text = Readable.from(decoded(file.path, encoding, onBytes));
  text.on('error', (error) => parser.destroy(error));
  text.pipe(parser);
  let header: readonly string[] | undefined;
  let records: RawRecord[] = [];
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (!header) {
        header = headerOf(record, file.name);
        continue;
      }
      records.push(rowOf(header, record, info.lines, delimiter));
      if (records.length === BLOCK_ROWS) {
        yield records;
        records = [];
      }
    }
  } catch (error) {
    if (error instanceof FettleError) throw error;
    yield records;
    throw new FettleError(
      'FORMAT_INVALID',
      `${file.name} cannot be read as a table: ${(error as Error).message.slice(0, 200)}`,
      'Check its quotes, or save it again as CSV in UTF-8.',
    );
  }
  if (!header) throw empty(file.name);
  yield records;
}

const lenient = (encoding: ReturnType<typeof encodingOf>): typeof encoding =>
  encoding === 'utf-8' ? 'windows-1252' : encoding;

async function* decoded(path: string, encoding: string, onBytes: ReadOptions['onBytes']): AsyncIterable<string> {
  const decoder = new TextDecoder(encoding);
  let read = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
    onBytes?.((read += chunk.length));
    yield decoder.decode(chunk, { stream: true }).replaceAll('\0', '');
  }
  yield decoder.decode();
}

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

function rowOf(header: readonly string[], cells: readonly string[], line: number, delimiter: string): RawRecord {
  if (cells.length !== header.length)
    return {
      kind: 'bad',
      reason: cells.length > header.length ? 'more cells than columns' : 'fewer cells than columns',
      line,
      raw: cells.join(delimiter).slice(0, 2000),
    };
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
    for (let start = 0; start < total; start += BLOCK_ROWS) {
      const rows = await parquetReadObjects({
        file: buffer,
        metadata,
        compressors,
        rowStart: start,
        rowEnd: Math.min(total, start + BLOCK_ROWS),
      });
      yield rows.map((row) => ({ kind: 'value', value: plain(row), line: ++line }));
      onBytes?.(Math.round((file.bytes * Math.min(total, start + BLOCK_ROWS)) / total));
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
