/** @file ZIP archives from strangers: names that climb, links, passwords and bombs are refused before anything is written. */
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { FettleError } from '../../contract/errors.ts';

const MAX_ENTRIES = 100_000;
const MAX_BYTES = 4 * 2 ** 30;
/** Text shrinks to a tenth; what shrinks a thousandfold is a bomb. */
const MAX_RATIO = 200;
const RATIO_FROM_BYTES = 16 * 2 ** 20;

export interface ZipEntry {
  readonly name: string;
  readonly bytes: number;
  open(): Promise<Readable>;
}
export interface OpenZip {
  readonly entries: readonly ZipEntry[];
  close(): void;
}

/** @throws FORMAT_INVALID, INPUT_INVALID; nothing of the archive's content has been read then. */
export async function openZip(path: string, name: string): Promise<OpenZip> {
  const zip = await new Promise<ZipFile>((resolve, reject) =>
    yauzl.open(path, { lazyEntries: true, autoClose: false, strictFileNames: false }, (error, opened) =>
      error ? reject(broken(name, error)) : resolve(opened),
    ),
  );
  try {
    return { entries: await list(zip, name), close: () => zip.close() };
  } catch (error) {
    zip.close();
    throw error;
  }
}

const broken = (name: string, error: Error): FettleError =>
  /invalid relative path|absolute path|invalid characters/.test(error.message)
    ? hostile(name, 'it holds names that lead out of their folder')
    : new FettleError(
        'FORMAT_INVALID',
        `${name} is not a whole ZIP archive: ${error.message}`,
        'Copy or pack it again.',
      );
const hostile = (name: string, why: string): FettleError =>
  new FettleError(
    'INPUT_INVALID',
    `${name} is refused: ${why}.`,
    'Unpack it yourself, look at it, and bring in the folder.',
  );

function list(zip: ZipFile, name: string): Promise<ZipEntry[]> {
  return new Promise((resolve, reject) => {
    const entries: ZipEntry[] = [];
    let bytes = 0;
    let packed = 0;
    zip.on('error', (error: Error) => reject(broken(name, error)));
    zip.on('end', () => resolve(entries));
    zip.on('entry', (entry: Entry) => {
      bytes += entry.uncompressedSize;
      packed += entry.compressedSize;
      const why = refusal(entry, entries.length, bytes, packed);
      if (why) return reject(hostile(name, why));
      if (!entry.fileName.endsWith('/'))
        entries.push({
          name: entry.fileName,
          bytes: entry.uncompressedSize,
          open: () =>
            new Promise((opened, failed) =>
              zip.openReadStream(entry, (error, stream) => (error ? failed(broken(name, error)) : opened(stream))),
            ),
        });
      zip.readEntry();
    });
    zip.readEntry();
  });
}

function refusal(entry: Entry, count: number, bytes: number, packed: number): string | null {
  if (count >= MAX_ENTRIES) return `it holds more than ${MAX_ENTRIES.toLocaleString('en')} files`;
  if (bytes > MAX_BYTES) return `it unpacks to more than ${MAX_BYTES / 2 ** 30} GB`;
  if (bytes > RATIO_FROM_BYTES && bytes > packed * MAX_RATIO)
    return 'it unpacks to far more than it is, as only a bomb does';
  // What the entry says of itself (yauzl checks names); 0xa000 is a link on Unix.
  if (((entry.externalFileAttributes >>> 16) & 0xf000) === 0xa000) return 'it holds links';
  if (entry.generalPurposeBitFlag & 1) return 'it is protected by a password';
  return null;
}

/** An entry's bytes, no more than it declared. */
export async function readEntry(entry: ZipEntry): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of (await entry.open()) as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** Writes an entry into a folder under a number, keeping only its extension: no name of a stranger touches the disk. */
export async function unpack(entry: ZipEntry, folder: string, number: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(
    folder,
    `${number}${extname(entry.name)
      .toLowerCase()
      .replace(/[^.a-z0-9]/g, '')}`,
  );
  let left = entry.bytes;
  const limit = new Transform({
    transform: (chunk: Buffer, _, done) =>
      (left -= chunk.length) < 0 ? done(new Error('more than it declared')) : done(null, chunk),
  });
  await pipeline(await entry.open(), limit, createWriteStream(path));
  return path;
}
