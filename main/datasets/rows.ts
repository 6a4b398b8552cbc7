/** @file A dataset version's rows: rows.jsonl, one row a line, and beside it rows.index, so that any row is one read away. */
import { createReadStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MARKS, type ChatTurn, type Mark, type Tools } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';

/** What a line holds. */
export interface Content {
  /** File and line it came from, for people. */
  readonly source: string;
  readonly messages?: readonly ChatTurn[];
  readonly tools?: Tools;
  readonly text?: string;
  /** Of a preference row. */
  readonly rejected?: string;
}
export interface StoredRow extends Content {
  readonly index: number;
  readonly split: 'train' | 'held-out';
}

export const ROWS_FILE = 'rows.jsonl';
export const INDEX_FILE = 'rows.index';
/** Two bytes a row, a bit for each of MARKS; there once the version was looked through. */
export const MARKS_FILE = 'rows.marks';
/** A row's record in the index: where its line begins (6 bytes), flags (2 bytes), little-endian. */
export const INDEX_RECORD = 8;
export const HELD_OUT = 1;

type Texts = Pick<Content, 'messages' | 'text' | 'rejected'>;
/** The texts of a row in order: its one text, or each message and then what was rejected. */
export const partsOfRow = (row: Texts): string[] =>
  row.text !== undefined
    ? [row.text]
    : [...(row.messages ?? []).map((turn) => turn.content), ...(row.rejected ? [row.rejected] : [])];

/** All the text of a row, for counting and searching. */
export const textOfRow = (row: Texts): string => partsOfRow(row).join('\n');

const noIndex = (): FettleError =>
  new FettleError(
    'FORMAT_INVALID',
    'The index of this dataset version is missing or damaged.',
    'Bring the files in again.',
  );

/** The index in memory: 8 bytes a row. */
export class RowIndex {
  readonly #bytes: Buffer;
  readonly #marks: Uint16Array | null;

  private constructor(bytes: Buffer, marks: Uint16Array | null) {
    this.#bytes = bytes;
    this.#marks = marks;
  }

  /** @param rows path of rows.jsonl. Throws FORMAT_INVALID where its index is missing. */
  static async open(rows: string): Promise<RowIndex> {
    const folder = dirname(rows);
    const bytes = await readFile(join(folder, INDEX_FILE)).catch(() => null);
    if (!bytes || bytes.length % INDEX_RECORD !== 0) throw noIndex();
    const marks = await readFile(join(folder, MARKS_FILE)).catch(() => null);
    return new RowIndex(bytes, marks && new Uint16Array(marks.buffer, marks.byteOffset, marks.length / 2));
  }

  get count(): number {
    return this.#bytes.length / INDEX_RECORD;
  }
  offset(index: number): number {
    return this.#bytes.readUIntLE(index * INDEX_RECORD, 6);
  }
  isHeldOut(index: number): boolean {
    return (this.#bytes.readUInt16LE(index * INDEX_RECORD + 6) & HELD_OUT) !== 0;
  }
  split(index: number): StoredRow['split'] {
    return this.isHeldOut(index) ? 'held-out' : 'train';
  }
  /** Empty until the version was looked through. */
  marks(index: number): Mark[] {
    return marksOf(this.#marks?.[index] ?? 0);
  }
  has(index: number, mark: Mark): boolean {
    return ((this.#marks?.[index] ?? 0) & (1 << MARKS.indexOf(mark))) !== 0;
  }
  get looked(): boolean {
    return this.#marks !== null;
  }
}

/** Rows of a version in all, without reading its index. */
export async function countRows(rows: string): Promise<number> {
  const found = await stat(join(dirname(rows), INDEX_FILE)).catch(() => null);
  if (found && found.size % INDEX_RECORD === 0) return found.size / INDEX_RECORD;
  throw noIndex();
}

/** Rows that follow each other, each with its marks: only their part of the index is read, however many there are. */
export async function readRange(
  rows: string,
  from: number,
  limit: number,
): Promise<{ readonly row: StoredRow; readonly marks: Mark[] }[]> {
  const total = await countRows(rows);
  const count = Math.max(0, Math.min(limit, total - from));
  if (count === 0) return [];
  const folder = dirname(rows);
  // The record after the last tells where that one ends.
  const records = await bytesAt(join(folder, INDEX_FILE), from * INDEX_RECORD, (count + 1) * INDEX_RECORD);
  const bits = await bytesAt(join(folder, MARKS_FILE), from * 2, count * 2).catch(() => Buffer.alloc(0));
  const offset = (i: number): number => records.readUIntLE(i * INDEX_RECORD, 6);
  const start = offset(0);
  const end = from + count < total ? offset(count) : (await stat(rows)).size;
  const block = await bytesAt(rows, start, end - start);
  return Array.from({ length: count }, (_, i) => {
    const until = i + 1 < count ? offset(i + 1) : end;
    const isHeldOut = (records.readUInt16LE(i * INDEX_RECORD + 6) & HELD_OUT) !== 0;
    const content = JSON.parse(block.toString('utf8', offset(i) - start, until - start)) as Content;
    const marks = i * 2 + 2 <= bits.length ? marksOf(bits.readUInt16LE(i * 2)) : [];
    return { row: { index: from + i, split: isHeldOut ? 'held-out' : 'train', ...content }, marks };
  });
}

async function bytesAt(path: string, from: number, length: number): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, (await handle.read(bytes, 0, length, from)).bytesRead);
  } finally {
    await handle.close();
  }
}

const marksOf = (bits: number): Mark[] => (bits === 0 ? [] : MARKS.filter((_, bit) => bits & (1 << bit)));

/** Every row in order; memory stays within a block and a row. */
export async function* readRows(rows: string): AsyncGenerator<StoredRow> {
  for await (const block of readLines(rows)) for (const { row } of block) yield row();
}

/** A line of rows.jsonl, parsed where it is wanted. */
export interface Line {
  readonly index: number;
  readonly raw: string;
  row(): StoredRow;
}

/** Lines of rows.jsonl by blocks: faster than one at a time where most are only searched. */
export async function* readLines(rows: string): AsyncGenerator<Line[]> {
  const index = await RowIndex.open(rows);
  let at = 0;
  let rest: Buffer[] = [];
  for await (const chunk of createReadStream(rows, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    const end = chunk.lastIndexOf(10);
    if (end < 0) {
      rest.push(chunk);
      continue;
    }
    const whole = Buffer.concat([...rest, chunk.subarray(0, end)]).toString();
    rest = [chunk.subarray(end + 1)];
    yield whole.split('\n').map((raw) => {
      const number = at++;
      return { index: number, raw, row: () => parse(raw, number, index) };
    });
  }
}

function parse(raw: string, number: number, index: RowIndex): StoredRow {
  const content = JSON.parse(raw) as Content;
  return { index: number, split: index.split(number), ...content };
}

/** Some rows by number, in any order, a read each. Numbers that are none are left out. */
export async function readAt(rows: string, index: RowIndex, numbers: readonly number[]): Promise<StoredRow[]> {
  const handle = await open(rows, 'r');
  try {
    const { size } = await handle.stat();
    const out: StoredRow[] = [];
    for (const number of numbers) {
      if (number < 0 || number >= index.count) continue;
      const start = index.offset(number);
      const end = number + 1 < index.count ? index.offset(number + 1) : size;
      const bytes = Buffer.alloc(end - start - 1);
      await handle.read(bytes, 0, bytes.length, start);
      out.push(parse(bytes.toString(), number, index));
    }
    return out;
  } finally {
    await handle.close();
  }
}
