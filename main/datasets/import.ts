/** @file From files to an immutable dataset version. Pure work on files: knows no database, runs in a child process. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset, DatasetKind } from '../contract/entities.ts';
import { FettleError, toFettleError, type ErrorShape } from '../contract/errors.ts';
import { listFiles, readFile, type RawRecord, type SourceFile } from './read.ts';
import { textOfRow, type StoredRow } from './rows.ts';
import { mapRow, recognise, type Mapped, type Shape } from './shape.ts';
import { chooseHeldOut, cutTail } from './split.ts';

export interface ImportRequest {
  readonly paths: readonly string[];
  readonly kind?: DatasetKind | undefined;
  readonly map?: Readonly<Record<string, string>> | undefined;
  readonly heldOut: number;
  /** The project's datasets/ folder; the version becomes a folder in it. */
  readonly folder: string;
}
export type ImportResult = Pick<
  Dataset,
  | 'id'
  | 'kind'
  | 'rows'
  | 'trainRows'
  | 'heldOutRows'
  | 'words'
  | 'bytes'
  | 'files'
  | 'shape'
  | 'dropped'
  | 'duplicates'
  | 'hash'
>;

const SAMPLE_ROWS = 200;
const EXAMPLES_KEPT = 5;

type Content = Pick<StoredRow, 'messages' | 'text' | 'source'>;
interface Item {
  readonly content: Content;
  readonly digest: string;
  readonly words: number;
}

/** Reads, recognises, maps, removes exact duplicates, splits, and writes the version; nothing is left behind where it fails. */
export async function importDataset(request: ImportRequest): Promise<ImportResult> {
  const files = await listFiles(request.paths);
  const dropped = new Map<string, { count: number; examples: { file: string; line: number | null }[] }>();
  const items: Item[] = [];
  const seen = new Set<string>();
  const report: { name: string; rows: number; error: ErrorShape | null }[] = [];
  let duplicates = 0;
  let shape: Shape | undefined;

  const drop = (reason: string, file: string, line: number | null): void => {
    const entry = dropped.get(reason) ?? { count: 0, examples: [] };
    entry.count++;
    if (entry.examples.length < EXAMPLES_KEPT) entry.examples.push({ file, line });
    dropped.set(reason, entry);
  };
  const keep = (mapped: Mapped, file: SourceFile, line: number | null): boolean => {
    if (!mapped.ok) return (drop(mapped.reason, file.name, line), false);
    const source = line === null ? file.name : `${file.name}:${line}`;
    const content: Content = 'text' in mapped ? { source, text: mapped.text } : { source, messages: mapped.messages };
    const digest = createHash('sha256')
      .update(JSON.stringify(content.messages ?? content.text))
      .digest('hex');
    if (seen.has(digest)) return (duplicates++, drop('the same as an earlier row', file.name, line), false);
    seen.add(digest);
    items.push({ content, digest, words: countWords(textOfRow(content)) });
    return true;
  };

  for (const file of files) {
    let rows = 0;
    try {
      const { records, found } = await withShape(readFile(file), shape, request.map);
      if (found && shape && found.kind !== shape.kind)
        throw new FettleError(
          'DATA_SHAPE_UNKNOWN',
          `${file.name} holds ${found.name}, the files before it ${shape.name}.`,
          'Bring in one kind of data at a time.',
        );
      shape ??= found;
      for await (const record of records) {
        if (record.kind === 'bad') drop(record.reason, file.name, record.line);
        else if (record.kind === 'text') rows += Number(keep({ ok: true, text: record.text }, file, null));
        else rows += Number(keep(mapRow(record.value, found!), file, record.line));
      }
      report.push({ name: file.name, rows, error: null });
    } catch (error) {
      const known = toFettleError(error);
      if (files.length === 1 || known.code === 'INTERNAL' || known.code === 'DISK_FULL') throw known;
      report.push({ name: file.name, rows, error: known.toShape() });
    }
  }
  const why = [...dropped].map(([reason, { count }]) => `${count} with ${reason}`).join(', ');
  if (items.length === 0)
    throw new FettleError(
      'DATA_EMPTY',
      `Nothing is left to train on${why ? `: ${why}` : ''}.`,
      report.find((file) => file.error)?.error?.message ?? 'Check the file and its columns.',
    );

  const kind = shape?.kind ?? 'prose';
  if (request.kind && kindOf(request.kind) !== kindOf(kind))
    throw new FettleError(
      'DATA_SHAPE_UNKNOWN',
      `This was asked for as ${request.kind}, but it holds ${kind === 'prose' ? 'prose' : `${kind} rows`}.`,
      'Leave out --kind, or map the columns with --map.',
    );
  const rows = split(items, kind, request.heldOut);
  const { id, hash, bytes } = await write(rows, request.folder);
  const heldOutRows = rows.filter((row) => row.split === 'held-out').length;
  return {
    id,
    hash,
    kind,
    bytes,
    rows: rows.length,
    trainRows: rows.length - heldOutRows,
    heldOutRows,
    words: items.reduce((sum, item) => sum + item.words, 0),
    files: report.map((file) => ({
      ...file,
      error: file.error && {
        code: file.error.code,
        message: file.error.message,
        ...(file.error.hint ? { hint: file.error.hint } : {}),
      },
    })),
    shape: shape
      ? { name: shape.name, evidence: [...shape.evidence], mapping: { ...shape.mapping } as Record<string, string> }
      : {
          name: 'documents',
          evidence: [`${files.length} text ${files.length === 1 ? 'file' : 'files'}, each one document`],
          mapping: {},
        },
    dropped: [...dropped].map(([reason, entry]) => ({ reason, ...entry })).sort((a, b) => b.count - a.count),
    duplicates,
  };
}

const kindOf = (kind: DatasetKind): 'prose' | 'pairs' => (kind === 'prose' ? 'prose' : 'pairs');
const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0;

/** Looks at the first rows to recognise the shape, then gives all rows, the first ones included. */
async function withShape(
  source: AsyncIterable<RawRecord>,
  known: Shape | undefined,
  map: Readonly<Record<string, string>> | undefined,
): Promise<{ records: AsyncIterable<RawRecord>; found: Shape | undefined }> {
  const iterator = source[Symbol.asyncIterator]();
  const head: RawRecord[] = [];
  while (head.length < SAMPLE_ROWS) {
    const next = await iterator.next();
    if (next.done) break;
    head.push(next.value);
  }
  const values = head.flatMap((record) => (record.kind === 'value' ? [record.value] : []));
  const found = values.length > 0 ? recognise(values, map) : known;
  async function* records(): AsyncIterable<RawRecord> {
    yield* head;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  return { records: records(), found };
}

function split(items: readonly Item[], kind: DatasetKind, share: number): StoredRow[] {
  const only = items[0]!;
  if (items.length === 1) {
    const parts = only.content.text === undefined ? null : cutTail(only.content.text, share);
    if (!parts)
      throw new FettleError(
        'DATA_EMPTY',
        'One row alone cannot be split into rows to learn from and rows to judge by.',
        'Bring at least two rows or documents.',
      );
    return [
      { index: 0, split: 'train', source: only.content.source, text: parts[0] },
      { index: 1, split: 'held-out', source: `${only.content.source} (its end)`, text: parts[1] },
    ];
  }
  const heldOut = chooseHeldOut(
    items.map(({ digest, words }) => ({ digest, weight: kind === 'prose' ? words : 1 })),
    share,
  );
  return items.map(({ content }, index) => ({ index, split: heldOut.has(index) ? 'held-out' : 'train', ...content }));
}

async function write(rows: readonly StoredRow[], folder: string): Promise<{ id: string; hash: string; bytes: number }> {
  const temporary = join(folder, `.importing-${process.pid}-${Date.now()}`);
  await mkdir(temporary, { recursive: true });
  try {
    const hash = createHash('sha256');
    const handle = await open(join(temporary, 'rows.jsonl'), 'w');
    let bytes = 0;
    try {
      let block = '';
      const flush = async (): Promise<void> => {
        const data = Buffer.from(block);
        hash.update(data);
        bytes += data.length;
        await handle.writeFile(data);
        block = '';
      };
      for (const row of rows) {
        block += `${JSON.stringify(row)}\n`;
        if (block.length > 1 << 20) await flush();
      }
      await flush();
      await handle.sync();
    } finally {
      await handle.close();
    }
    const digest = hash.digest('hex');
    const id = digest.slice(0, 12);
    // A version is immutable: the same content is the same version, and what is there stays.
    if (existsSync(join(folder, id, 'rows.jsonl'))) await rm(temporary, { recursive: true, force: true });
    else await rename(temporary, join(folder, id));
    return { id, hash: digest, bytes };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw toFettleError(error);
  }
}
