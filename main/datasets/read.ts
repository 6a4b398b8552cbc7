/** @file Files and folders as raw records: one JSON value a record, or one document a record. Decodes strictly: a byte that is no text is an error, never a replacement character. */
import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, extname, join, relative } from 'node:path';
import { FettleError, toFettleError } from '../contract/errors.ts';

/** A record with where it came from, or why it could not be had. */
export type RawRecord =
  | { readonly kind: 'value'; readonly value: unknown; readonly line: number | null }
  | { readonly kind: 'text'; readonly text: string; readonly line: null }
  | { readonly kind: 'bad'; readonly reason: string; readonly line: number | null };

/** A line longer than this is dropped with its reason; a document longer than this is refused. Bytes. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;
export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;
const MAX_FILES = 100_000;

const READERS: Readonly<Record<string, (file: string) => AsyncIterable<RawRecord>>> = {
  '.jsonl': readJsonLines,
  '.ndjson': readJsonLines,
  '.json': readJson,
  '.txt': readDocument,
  '.text': readDocument,
  '.md': readDocument,
  '.markdown': readDocument,
};
export const READABLE = Object.keys(READERS);

export interface SourceFile {
  readonly path: string;
  /** What a person sees: the name, below the folder that was given. Never an absolute path. */
  readonly name: string;
}

/** The files that the paths name: a folder stands for the readable files below it, in a fixed order. Hidden files are left out. */
export async function listFiles(paths: readonly string[]): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const path of paths) {
    const info = await stat(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new FettleError('FILE_NOT_FOUND', `${path} does not exist.`, 'Check the path.');
      throw toFettleError(error);
    });
    if (!info.isDirectory()) files.push({ path, name: basename(path) });
    else {
      const root = join(path, '..');
      const below = await readdir(path, { recursive: true, withFileTypes: true });
      const found = below
        .filter(
          (entry) => entry.isFile() && !entry.name.startsWith('.') && extname(entry.name).toLowerCase() in READERS,
        )
        .map((entry) => join(entry.parentPath, entry.name))
        .sort()
        .map((file) => ({ path: file, name: relative(root, file) }));
      if (found.length === 0)
        throw new FettleError(
          'FILE_EMPTY',
          `The folder ${basename(path)} holds no file that can be read.`,
          `Fettle reads ${READABLE.join(', ')}.`,
        );
      files.push(...found);
    }
    if (files.length > MAX_FILES)
      throw new FettleError(
        'INPUT_INVALID',
        `More than ${MAX_FILES.toLocaleString('en')} files were given.`,
        'Bring them in by folders.',
      );
  }
  return files;
}

export function readFile(file: SourceFile): AsyncIterable<RawRecord> {
  const reader = READERS[extname(file.name).toLowerCase()];
  if (!reader)
    throw new FettleError(
      'FORMAT_UNKNOWN',
      `${file.name}: Fettle cannot read this kind of file.`,
      `It reads ${READABLE.join(', ')}.`,
    );
  return reader(file.path);
}

async function* readJsonLines(file: string): AsyncIterable<RawRecord> {
  let number = 0;
  for await (const line of lines(file)) {
    number++;
    if (line === 'too long')
      yield { kind: 'bad', reason: `a line longer than ${MAX_LINE_BYTES / 2 ** 20} MB`, line: number };
    else if (line === 'not text') yield { kind: 'bad', reason: 'bytes that are not UTF-8', line: number };
    else {
      const text = line.text.trim();
      if (text === '') continue;
      yield parse(text, number);
    }
  }
}

function parse(text: string, line: number | null): RawRecord {
  try {
    return { kind: 'value', value: JSON.parse(text), line };
  } catch {
    return { kind: 'bad', reason: 'not valid JSON', line };
  }
}

/** An array of rows, or an object with one array in it. */
async function* readJson(file: string): AsyncIterable<RawRecord> {
  const text = await readText(file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // Many files named .json hold one JSON value a line.
    const rows = text.split('\n').filter((line) => line.trim() !== '');
    if (rows.length > 1 && parse(rows[0]!, 1).kind === 'value') {
      yield* rows.map((row, i) => parse(row, i + 1));
      return;
    }
    throw new FettleError(
      'FORMAT_INVALID',
      `${basename(file)} is not valid JSON: ${(error as Error).message}`,
      'Mend the file, or save it as JSONL: one row a line.',
    );
  }
  const rows = Array.isArray(value) ? value : onlyArray(value);
  for (const [i, row] of rows.entries()) yield { kind: 'value', value: row, line: i + 1 };
}

function onlyArray(value: unknown): readonly unknown[] {
  const arrays = typeof value === 'object' && value !== null ? Object.values(value).filter(Array.isArray) : [];
  // A single object is one row; an object around one list is that list.
  return arrays.length === 1 && Object.keys(value as object).length <= 3 && typeof arrays[0]?.[0] === 'object'
    ? (arrays[0] as unknown[])
    : [value];
}

async function* readDocument(file: string): AsyncIterable<RawRecord> {
  const text = (await readText(file)).replaceAll('\r\n', '\n').trim();
  yield text === '' ? { kind: 'bad', reason: 'an empty document', line: null } : { kind: 'text', text, line: null };
}

/** A whole text file: UTF-8 with or without a byte order mark, UTF-16 with one. */
async function readText(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    if (size > MAX_DOCUMENT_BYTES)
      throw new FettleError(
        'INPUT_INVALID',
        `${basename(file)} is larger than ${MAX_DOCUMENT_BYTES / 2 ** 20} MB.`,
        'Split it, or save rows as JSONL.',
      );
    const bytes = await handle.readFile();
    if (bytes.length === 0)
      throw new FettleError('FILE_EMPTY', `${basename(file)} is empty.`, 'Check that the right file was given.');
    const encoding =
      bytes[0] === 0xff && bytes[1] === 0xfe
        ? 'utf-16le'
        : bytes[0] === 0xfe && bytes[1] === 0xff
          ? 'utf-16be'
          : 'utf-8';
    try {
      return new TextDecoder(encoding, { fatal: true }).decode(bytes);
    } catch {
      throw new FettleError(
        'FILE_ENCODING',
        `${basename(file)} is not UTF-8 text.`,
        'Save it as UTF-8 and bring it in again.',
      );
    }
  } finally {
    await handle.close();
  }
}

/** Lines of a file, decoded one by one, so that one bad line costs only itself and memory stays bounded. */
async function* lines(file: string): AsyncIterable<{ text: string } | 'too long' | 'not text'> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes: Buffer): { text: string } | 'not text' => {
    try {
      return { text: decoder.decode(bytes) };
    } catch {
      return 'not text';
    }
  };
  let parts: Buffer[] = [];
  let length = 0;
  let skipping = false;
  const add = (part: Buffer): void => {
    length += part.length;
    if (length > MAX_LINE_BYTES) {
      skipping = true;
      parts = [];
    } else if (!skipping && part.length > 0) parts.push(part);
  };
  const end = (): { text: string } | 'too long' | 'not text' => {
    const line = skipping ? ('too long' as const) : decode(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    parts = [];
    length = 0;
    skipping = false;
    return line;
  };
  let any = false;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    any = true;
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, at));
      yield end();
      from = at + 1;
    }
    add(chunk.subarray(from));
  }
  if (!any) throw new FettleError('FILE_EMPTY', `${basename(file)} is empty.`, 'Check that the right file was given.');
  if (length > 0) yield end();
}
