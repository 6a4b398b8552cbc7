/** @file Files, folders and archives as raw records: one JSON value a record, or one document a record. */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, relative } from 'node:path';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { readHtml } from './html.ts';
import { readJson, readJsonLines } from './json.ts';
import { ARCHIVE, FILE_KINDS, READABLE } from './kinds.ts';
import { readDocx, readEpub } from './office.ts';
import { readPdf } from './pdf.ts';
import type { RawRecord, Reader, SourceFile } from './record.ts';
import { readCsv, readParquet } from './table.ts';
import { decode, MAX_DOCUMENT_BYTES, partsOfText, readBytes, tidy } from './text.ts';
import { openZip, unpack } from './zip.ts';

const MAX_FILES = 100_000;

/** A reader of files that are one document each. */
const document = (read: (file: SourceFile, onShare: (share: number) => void) => Promise<RawRecord>): Reader =>
  async function* (file, { onBytes }) {
    yield [await read(file, (share) => onBytes?.(Math.round(share * file.bytes)))];
    onBytes?.(file.bytes);
  };

const plainDocument = document(async (file) => {
  const text = tidy(decode(await readBytes(file), file.name));
  return text === '' ? { kind: 'bad', reason: 'an empty document', line: null, raw: '' } : { kind: 'text', text };
});

/** One document, or, where it is larger than one may be, several. */
const plain: Reader = async function* (file, options) {
  if (file.bytes <= MAX_DOCUMENT_BYTES) return yield* plainDocument(file, options);
  let part = 0;
  for await (const text of partsOfText(file, options.onBytes))
    if (text !== '') yield [{ kind: 'text', text, part: ++part }];
};

const READERS: Readonly<Record<(typeof FILE_KINDS)[number], Reader>> = {
  '.jsonl': readJsonLines,
  '.ndjson': readJsonLines,
  '.json': readJson,
  '.csv': readCsv,
  '.tsv': readCsv,
  '.parquet': readParquet,
  '.txt': plain,
  '.text': plain,
  '.md': plain,
  '.markdown': plain,
  '.html': document(readHtml),
  '.htm': document(readHtml),
  '.docx': document(readDocx),
  '.pdf': document(readPdf),
  '.epub': document(readEpub),
};

const readerOf = (name: string): Reader | undefined => (READERS as Readonly<Record<string, Reader>>)[extension(name)];
const extension = (name: string): string => extname(name).toLowerCase();

export interface Listed {
  readonly files: readonly SourceFile[];
  /** What cannot be read, with why; the rest goes on. */
  readonly refused: readonly { readonly name: string; readonly error: FettleError }[];
}

/**
 * The files that the paths name, in a fixed order. A folder stands for the readable files below it, hidden ones and links left
 * out; an archive for those in it, which are unpacked into `scratch`, a folder that the caller made and removes.
 * @throws FILE_NOT_FOUND, FILE_EMPTY for a folder with nothing to read, INPUT_INVALID where there are too many.
 */
export async function listFiles(paths: readonly string[], scratch: string): Promise<Listed> {
  const files: SourceFile[] = [];
  const refused: { name: string; error: FettleError }[] = [];
  const add = async (path: string, name: string, bytes: number): Promise<void> => {
    if (extension(name) !== ARCHIVE) files.push({ path, name, bytes });
    else
      try {
        const inside = await expand(path, name, join(scratch, String(files.length)));
        files.push(...inside.files);
        refused.push(...inside.refused);
      } catch (error) {
        refused.push({ name, error: toFettleError(error) });
      }
    if (files.length > MAX_FILES)
      throw new FettleError(
        'INPUT_INVALID',
        `More than ${MAX_FILES.toLocaleString('en')} files were given.`,
        'Bring them in by folders.',
      );
  };
  for (const path of paths) {
    const info = await stat(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new FettleError('FILE_NOT_FOUND', `${path} does not exist.`, 'Check the path.');
      throw toFettleError(error);
    });
    if (!info.isDirectory()) {
      await add(path, basename(path), info.size);
      continue;
    }
    const { files: inside, skipped } = await below(path);
    for (const inner of inside) await add(inner.path, inner.name, inner.bytes);
    refused.push(...skipped);
  }
  const own = ownNames();
  return {
    files: files.map((file) => ({ ...file, name: own(file.name) })),
    refused: refused.map((each) => ({ ...each, name: own(each.name) })),
  };
}

/** Two folders may be called the same, with files that are called the same: the later ones are numbered. */
function ownNames(): (name: string) => string {
  const taken = new Set<string>();
  return (name) => {
    const end = extname(name);
    let own = name;
    for (let number = 2; taken.has(own); number++) own = `${name.slice(0, name.length - end.length)} (${number})${end}`;
    taken.add(own);
    return own;
  };
}

type Refused = Listed['refused'][number];
const isHidden = (path: string): boolean =>
  path.split(/[\\/]/).some((part) => part.startsWith('.') || part === '__MACOSX');

async function below(folder: string): Promise<{ files: SourceFile[]; skipped: Refused[] }> {
  const root = join(folder, '..');
  const found = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }))
    .filter(({ entry, path }) => !entry.isDirectory() && !isHidden(relative(folder, path)))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const isRead = ({ entry }: (typeof found)[number]): boolean =>
    entry.isFile() && READABLE.includes(extension(entry.name));
  const skipped = skippedByKind(
    basename(folder),
    found.filter((each) => !isRead(each)).map(({ entry }) => (entry.isFile() ? extension(entry.name) : LINK)),
  );
  const files = found.filter(isRead);
  if (files.length === 0)
    throw new FettleError(
      'FILE_EMPTY',
      `The folder ${basename(folder)} holds no file that can be read.`,
      `Fettle reads ${READABLE.join(', ')}.`,
    );
  return {
    files: await Promise.all(
      files.map(async ({ path }) => ({ path, name: relative(root, path), bytes: (await stat(path)).size })),
    ),
    skipped,
  };
}

/** What stands beside the files that are read is said, one line a kind: a folder may hold thousands of pictures. */
function skippedByKind(where: string, kinds: readonly string[]): Refused[] {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => {
    const many = count > 1;
    const [one, more, hint] =
      kind === LINK
        ? ['link, which is not followed', 'links, which are not followed', 'Bring in what they lead to.']
        : kind === ARCHIVE
          ? ['archive within it, which is not opened', 'archives within it, which are not opened', 'Unpack it first.']
          : [
              'file of a kind that Fettle cannot read',
              'files of a kind that Fettle cannot read',
              `It reads ${READABLE.join(', ')}.`,
            ];
    const name = kind === LINK ? `${where}/ (links)` : `${where}/*${kind}`;
    return {
      name,
      error: new FettleError('FORMAT_UNKNOWN', `${count.toLocaleString('en')} ${many ? more : one}.`, hint),
    };
  });
}
const LINK = 'link';

async function expand(path: string, name: string, scratch: string): Promise<Listed> {
  const zip = await openZip(path, name);
  try {
    const visible = zip.entries.filter((entry) => !isHidden(entry.name));
    const inner = visible.filter((entry) => readerOf(entry.name)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    if (inner.length === 0)
      throw new FettleError(
        'FILE_EMPTY',
        `${name} holds no file that can be read.`,
        `Fettle reads ${FILE_KINDS.join(', ')} in it.`,
      );
    const files: SourceFile[] = [];
    for (const [i, entry] of inner.entries())
      files.push({ path: await unpack(entry, scratch, i), name: `${name}/${entry.name}`, bytes: entry.bytes });
    const rest = visible.filter((entry) => !readerOf(entry.name));
    return {
      files,
      refused: skippedByKind(
        name,
        rest.map((entry) => extension(entry.name)),
      ),
    };
  } finally {
    zip.close();
  }
}

/** Records by blocks. @throws FORMAT_UNKNOWN, FORMAT_INVALID, FILE_EMPTY, FILE_ENCODING, FILE_UNREADABLE, INPUT_INVALID */
export const readFile: Reader = (file, options) => {
  const reader = readerOf(file.name);
  if (!reader)
    throw new FettleError(
      'FORMAT_UNKNOWN',
      `${file.name}: Fettle cannot read this kind of file.`,
      `It reads ${READABLE.join(', ')}.`,
    );
  return reader(file, options);
};
