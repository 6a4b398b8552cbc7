/** @file JSON: one row a line, an array of rows, or an object around one. Lines are read by blocks of bytes, so that one bad line costs only itself and memory stays bounded. */
import { createReadStream } from 'node:fs';
import { FettleError } from '../../contract/errors.ts';
import { Elements, nestsDeeper } from './elements.ts';
import type { RawRecord, ReadOptions, SourceFile } from './record.ts';
import { utf8Lines, decode, empty, encodingOf, readBytes, readHead } from './text.ts';

/** A line longer than this is left out with its reason. Bytes. */
export const MAX_LINE_BYTES = 16 * 2 ** 20;
/** No row of text nests so deep, and what walks through it by recursion must not run out of stack. */
const DEEPEST = 500;
/** Of a line that cannot be used, that much is kept to be looked at. */
const RAW_KEPT = 2000;

export async function* readJsonLines(file: SourceFile, options: ReadOptions): AsyncIterable<readonly RawRecord[]> {
  const encoding = encodingOf(await readHead(file.path));
  // UTF-16 has line ends of two bytes: such a file is decoded as a whole. One bad byte makes no other encoding of UTF-8.
  if (encoding === 'utf-16le' || encoding === 'utf-16be') {
    const lines = decode(await readBytes(file), file.name, encoding).split('\n');
    yield lines.flatMap((line, i) => (line.trim() === '' ? [] : [parse(line, i + 1)]));
    options.onBytes?.(file.bytes);
    return;
  }
  const { good, bad } = await utf8Lines(file.path);
  const looksUtf8 = bad < 2 || bad <= good;
  const decoder = new TextDecoder(looksUtf8 ? 'utf-8' : 'windows-1252', { fatal: true });
  let number = 0;
  for await (const { lines, read } of wholeLines(file)) {
    options.onBytes?.(read);
    if (lines === 'too long') {
      const reason = `a line longer than ${MAX_LINE_BYTES / 2 ** 20} MB`;
      yield [{ kind: 'bad', reason, line: ++number, raw: '' }];
      continue;
    }
    const records: RawRecord[] = [];
    // All at once is ten times as fast; a byte that is no text makes it line by line.
    const text = decoded(lines, decoder);
    if (text !== null)
      for (const line of text.split('\n')) {
        number++;
        if (line.length > 1 || line.trim() !== '') records.push(parse(line, number));
      }
    else
      for (const line of split(lines)) {
        const record = parseLine(line, decoder, ++number);
        if (record) records.push(record);
      }
    yield records;
  }
  if (number === 0) throw empty(file.name);
}

interface Decoder {
  decode(bytes: Uint8Array): string;
}

function decoded(bytes: Buffer, decoder: Decoder): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function* split(bytes: Buffer): Iterable<Buffer> {
  let from = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
    yield bytes.subarray(from, at);
    from = at + 1;
  }
  yield bytes.subarray(from);
}

function parseLine(bytes: Buffer, decoder: Decoder, number: number): RawRecord | null {
  const text = decoded(bytes, decoder);
  if (text === null)
    return {
      kind: 'bad',
      reason: 'bytes that are not UTF-8',
      line: number,
      raw: bytes.toString('latin1', 0, RAW_KEPT),
    };
  return text.trim() === '' ? null : parse(text, number);
}

function parse(text: string, line: number): RawRecord {
  if (nestsDeeper(text, DEEPEST))
    return { kind: 'bad', reason: 'brackets within brackets, too deep', line, raw: text.slice(0, RAW_KEPT) };
  try {
    return { kind: 'value', value: JSON.parse(text), line };
  } catch {
    return { kind: 'bad', reason: 'not valid JSON', line, raw: text.slice(0, RAW_KEPT) };
  }
}

/** Whole lines without the last one's end, about a megabyte at a time, and how much of the file was read. */
async function* wholeLines(file: SourceFile): AsyncIterable<{ lines: Buffer | 'too long'; read: number }> {
  let rest: Buffer[] = [];
  let length = 0;
  let skipping = false;
  let read = 0;
  for await (let chunk of createReadStream(file.path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    read += chunk.length;
    const first = skipping ? chunk.indexOf(10) : -1;
    if (skipping && first >= 0) {
      skipping = false;
      yield { lines: 'too long', read };
      chunk = chunk.subarray(first + 1);
    }
    if (skipping) continue;
    const end = chunk.lastIndexOf(10);
    if (end >= 0) {
      yield {
        lines: rest.length === 0 ? chunk.subarray(0, end) : Buffer.concat([...rest, chunk.subarray(0, end)]),
        read,
      };
      rest = [];
      length = 0;
    }
    rest.push(chunk.subarray(end + 1));
    length += chunk.length - end - 1;
    if (length > MAX_LINE_BYTES) {
      skipping = true;
      rest = [];
      length = 0;
    }
  }
  if (skipping) yield { lines: 'too long', read };
  else if (length > 0) yield { lines: Buffer.concat(rest), read };
}

/** An array of rows, an object around one array, one row, or, as many files named .json have it, one row a line. */
export async function* readJson(file: SourceFile, options: ReadOptions): AsyncIterable<readonly RawRecord[]> {
  const head = (await readHead(file.path, 4096))
    .toString('latin1')
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart();
  const wide = encodingOf(await readHead(file.path)).startsWith('utf-16');
  if (file.bytes > MAX_LINE_BYTES && !wide) {
    yield* head.startsWith('[') || !(await firstLineIsWhole(file))
      ? streamArray(file, head, options)
      : readJsonLines(file, options);
    return;
  }
  const text = decode(await readBytes(file), file.name);
  let value: unknown;
  if (nestsDeeper(text, DEEPEST))
    throw new FettleError(
      'FORMAT_INVALID',
      `${file.name} has brackets within brackets, more than ${DEEPEST} deep.`,
      'Save its rows as JSONL: one row a line.',
    );
  try {
    value = JSON.parse(text);
  } catch (error) {
    const rows = text.split('\n').filter((line) => line.trim() !== '');
    if (rows.length > 1 && parse(rows[0]!, 1).kind === 'value') {
      yield* readJsonLines(file, options);
      return;
    }
    throw new FettleError(
      'FORMAT_INVALID',
      `${file.name} is not valid JSON: ${(error as Error).message.slice(0, 200)}`,
      'Mend the file, or save it as JSONL: one row a line.',
    );
  }
  options.onBytes?.(file.bytes);
  const rows = Array.isArray(value) ? (value as unknown[]) : onlyArray(value);
  yield rows.map((row, i) => ({ kind: 'value', value: row, line: i + 1 }));
}

function onlyArray(value: unknown): readonly unknown[] {
  const arrays = typeof value === 'object' && value !== null ? Object.values(value).filter(Array.isArray) : [];
  // A single object is one row; an object around one list is that list.
  return arrays.length === 1 && Object.keys(value as object).length <= 3 && typeof arrays[0]?.[0] === 'object'
    ? (arrays[0] as unknown[])
    : [value];
}

/** Whether a file named .json holds one row a line: then its first line is one. */
async function firstLineIsWhole({ path }: SourceFile): Promise<boolean> {
  const line = (await readHead(path, 1 << 20)).toString('latin1').trimStart().split('\n', 1)[0] ?? '';
  return parse(line, 1).kind === 'value';
}

/** The rows of a large array, or of the lists in a large object, without holding the whole. */
async function* streamArray(
  file: SourceFile,
  head: string,
  { onBytes }: ReadOptions,
): AsyncIterable<readonly RawRecord[]> {
  const elements = new Elements({ depth: head.startsWith('[') ? 1 : 2, longest: MAX_LINE_BYTES });
  const decoder = new TextDecoder(encodingOf(await readHead(file.path)), { fatal: true });
  let number = 0;
  let read = 0;
  for await (const chunk of createReadStream(file.path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    const records: RawRecord[] = [];
    for (const element of elements.more(chunk)) {
      number++;
      const record: RawRecord | null =
        element === 'too long'
          ? { kind: 'bad', reason: `a row longer than ${MAX_LINE_BYTES / 2 ** 20} MB`, line: number, raw: '' }
          : parseLine(element, decoder, number);
      if (record) records.push(record);
    }
    onBytes?.((read += chunk.length));
    yield records;
  }
  if (elements.whole) return;
  throw new FettleError(
    'FORMAT_INVALID',
    `${file.name} is not valid JSON: it ends within row ${number + 1}, or a quote before that is not closed.`,
    'Mend the file, or save it as JSONL: one row a line.',
  );
}
