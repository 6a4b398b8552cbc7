/** @file From files to dataset versions, one for each kind of data in them. Works row by row in bounded memory; knows no database, runs in a child process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DatasetKind, DroppedReason, ErrorInfo, Removed, ShapeFound } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { isRow, mapRow, type Row } from './map-row.ts';
import { listFiles, readFile } from './read/index.ts';
import type { RawRecord, RemovedText, SourceFile } from './read/record.ts';
import { askFor, Recogniser, type Reading } from './shape.ts';
import type { Content } from './rows.ts';
import { cutTail } from './split.ts';
import { VersionWriter, type Version } from './version.ts';

export interface ImportRequest {
  readonly paths: readonly string[];
  /** Only this kind is wanted; rows of another are left out, with that reason. */
  readonly kind?: DatasetKind | undefined;
  readonly map?: Readonly<Record<string, string>> | undefined;
  /** For single files, by name; before `map`. */
  readonly maps?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  /** Share, by rows, or by words of documents. */
  readonly heldOut: number;
  /** The project's datasets/ folder; each version becomes a folder in it. */
  readonly folder: string;
}
export interface FileReport {
  readonly name: string;
  rows: number;
  error: ErrorInfo | null;
}
export interface ImportedVersion extends Version {
  readonly kind: DatasetKind;
  readonly shapes: ShapeFound[];
  readonly removed: Removed[];
  readonly files: FileReport[];
}
export interface ImportProgress {
  readonly stage: string;
  readonly bytes: number;
  readonly totalBytes: number;
  readonly rows: number;
}
export interface ImportControl {
  readonly onProgress?: (progress: ImportProgress) => void;
  /** Asked between blocks of rows. */
  readonly cancelled?: () => boolean;
}

/** What is kept together: pairs and conversations train the same way. */
type Bucket = 'pairs' | 'prose' | 'preference';
const bucketOf = (kind: DatasetKind): Bucket => (kind === 'prose' || kind === 'preference' ? kind : 'pairs');
/** So many rows of a file are looked at before any is kept. */
export const SAMPLE_ROWS = 200;
const PROGRESS_MS = 200;
/** Rows left out before the first good one that are held in memory. */
const UNPLACED = 10_000;
/** What was removed from documents is listed for so many of them. */
const REMOVED_KEPT = 1000;

/**
 * Reads, recognises, maps, leaves exact duplicates out, splits and writes. A file that cannot be read is listed with its
 * reason and the rest goes on; nothing is left behind where the whole fails.
 * @throws DATA_EMPTY where nothing is left, what the one file given fails with, CANCELLED, DISK_FULL.
 */
export async function importFiles(request: ImportRequest, control: ImportControl = {}): Promise<ImportedVersion[]> {
  const scratch = mkdtempSync(join(request.folder, '.unpacking-'));
  const buckets = new Buckets(request);
  try {
    const { files, refused } = await listFiles(request.paths, scratch);
    const reports: FileReport[] = refused.map(({ name, error }) => ({ name, rows: 0, error: errorInfo(error) }));
    const first = refused[0];
    if (files.length === 0 && first) throw first.error;
    const progress = new Progress(files, control);
    for (const file of files) {
      const report: FileReport = { name: file.name, rows: 0, error: null };
      reports.push(report);
      try {
        await bringIn(file, request.maps?.[file.name] ?? request.map, buckets, report, progress);
      } catch (error) {
        const known = toFettleError(error);
        const fatal = ['INTERNAL', 'DISK_FULL', 'CANCELLED', 'USAGE'].includes(known.code);
        if (fatal || (files.length === 1 && reports.length === 1)) throw known;
        report.error = errorInfo(known);
      }
      progress.done(file);
    }
    progress.say('Choosing what is held out');
    return buckets.finish(reports);
  } catch (error) {
    buckets.discard();
    throw toFettleError(error);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export const errorInfo = ({ code, message, hint }: FettleError): ErrorInfo => ({
  code,
  message,
  ...(hint ? { hint } : {}),
});

async function bringIn(
  file: SourceFile,
  map: ImportRequest['map'],
  buckets: Buckets,
  report: FileReport,
  progress: Progress,
): Promise<void> {
  const recogniser = new Recogniser(map);
  const sink = buckets.at(file, report);
  try {
    for await (const block of recognised(file, recogniser, (bytes) => progress.read(bytes))) {
      for (const record of block) sink.take(record);
      progress.tick(sink.rows);
    }
  } finally {
    buckets.learn(recogniser.found);
  }
}

/** A record with what it was recognised as. */
export type RecognisedRecord =
  | { readonly kind: 'row'; readonly row: Row; readonly reading: Reading; readonly line: number | null }
  | Extract<RawRecord, { kind: 'text' | 'bad' }>;

/**
 * A file's records by blocks, recognised. The first rows are looked at before any is given: where one of them can be read in two
 * ways, or none of them in any, the person is asked.
 * @throws DATA_SHAPE_UNKNOWN and what the reader throws.
 */
export async function* recognised(
  file: SourceFile,
  recogniser: Recogniser,
  onBytes: (bytes: number) => void = () => undefined,
): AsyncGenerator<RecognisedRecord[]> {
  let looked: RecognisedRecord[] = [];
  let sure = false;
  for await (const block of readFile(file, { onBytes })) {
    const records = block.map((record): RecognisedRecord => {
      if (record.kind !== 'value') return record;
      const { value, line } = record;
      if (!isRow(value))
        return {
          kind: 'bad',
          reason: 'not an object with columns',
          line,
          raw: JSON.stringify(value)?.slice(0, 2000) ?? '',
        };
      return { kind: 'row', row: value, reading: recogniser.read(value), line };
    });
    if (sure) {
      yield records;
      continue;
    }
    looked = looked.concat(records);
    if (looked.length < SAMPLE_ROWS) continue;
    check(looked, file.name);
    sure = true;
    yield looked;
    looked = [];
  }
  if (sure) return;
  check(looked, file.name);
  yield looked;
}

function check(records: readonly RecognisedRecord[], name: string): void {
  const readings = records.slice(0, SAMPLE_ROWS).flatMap((record) => (record.kind === 'row' ? [record.reading] : []));
  const ambiguous = readings.find((reading) => reading.is === 'ambiguous');
  if (ambiguous) throw askFor(ambiguous, name);
  const unknown = readings.find((reading) => reading.is === 'unknown');
  if (unknown && readings.every((reading) => reading.is === 'unknown')) throw askFor(unknown, name);
}

/** Where the records of one file go. */
interface Sink {
  readonly rows: number;
  take(record: RecognisedRecord): void;
}
interface Filled {
  readonly writer: VersionWriter;
  readonly shapes: Map<string, ShapeFound & { kind: DatasetKind }>;
  readonly removed: Removed[];
  /** Rows that came of each file. */
  readonly files: Map<string, number>;
  /** The one text, where there is only one. */
  only: Content | null;
}
interface Dropped {
  readonly reason: string;
  readonly file: string;
  readonly line: number | null;
  readonly raw: string;
}

/** One version in the making for each kind of data. */
class Buckets {
  readonly #request: ImportRequest;
  readonly #filled = new Map<Bucket, Filled>();
  /** Left out before it was known what the rest of the file is. */
  #unplaced: Dropped[] = [];
  #rows = 0;

  constructor(request: ImportRequest) {
    this.#request = request;
  }

  at(file: SourceFile, report: FileReport): Sink {
    const rows = (): number => this.#rows;
    let last: Filled | undefined;
    const drop = (reason: string, line: number | null, raw: string): void => {
      if (!last && this.#unplaced.length >= UNPLACED) last = this.#bucket('pairs');
      if (last) last.writer.drop(reason, file.name, line, raw);
      else this.#unplaced.push({ reason, file: file.name, line, raw });
    };
    const keep = (content: Content, kind: DatasetKind, line: number | null): void => {
      if (this.#request.kind && bucketOf(this.#request.kind) !== bucketOf(kind))
        return drop(`not ${this.#request.kind}, which was asked for`, line, '');
      last = this.#bucket(bucketOf(kind));
      if (last.writer.add(content)) {
        this.#rows++;
        report.rows++;
        last.files.set(file.name, (last.files.get(file.name) ?? 0) + 1);
        last.only = last.writer.count === 1 ? content : null;
      } else drop('the same as an earlier row', line, '');
    };
    return {
      get rows() {
        return rows();
      },
      take: (record) => {
        if (record.kind === 'bad') drop(record.reason, record.line, record.raw);
        else if (record.kind === 'text') {
          const source = record.part === undefined ? file.name : `${file.name}, part ${record.part}`;
          keep({ source, text: record.text }, 'prose', null);
          if (last) this.#describe(last, 'documents', record.removed, file.name);
        } else {
          const { reading, row, line } = record;
          const source = line === null ? file.name : `${file.name}:${line}`;
          if (reading.is === 'ambiguous') return drop('columns that can be read in more than one way', line, raw(row));
          if (reading.is === 'unknown') return drop('columns that Fettle does not know', line, raw(row));
          const { shape } = reading;
          for (const mapped of mapRow(row, shape)) {
            if (!mapped.ok) drop(mapped.reason, line, raw(row));
            else if ('text' in mapped) keep({ source, text: mapped.text }, shape.kind, line);
            else {
              const { messages, tools, rejected } = mapped;
              const more = { ...(tools ? { tools } : {}), ...(rejected === undefined ? {} : { rejected }) };
              keep({ source, messages, ...more }, shape.kind, line);
            }
          }
        }
      },
    };
  }

  #bucket(bucket: Bucket): Filled {
    let filled = this.#filled.get(bucket);
    if (!filled) {
      filled = {
        writer: new VersionWriter(this.#request.folder, bucket),
        shapes: new Map(),
        removed: [],
        files: new Map(),
        only: null,
      };
      this.#filled.set(bucket, filled);
    }
    for (const { reason, file, line, raw } of this.#unplaced) filled.writer.drop(reason, file, line, raw);
    this.#unplaced = [];
    return filled;
  }

  #describe(filled: Filled, name: string, removed: readonly RemovedText[] | undefined, file: string): void {
    const shape = filled.shapes.get(name) ?? { name, kind: 'prose', rows: 0, mapping: {}, evidence: [] };
    filled.shapes.set(name, { ...shape, rows: shape.rows + 1 });
    if (removed && filled.removed.length < REMOVED_KEPT)
      filled.removed.push(...removed.map((it) => ({ ...it, examples: [...it.examples], file })));
  }

  /** What a file's rows were recognised as, once it is read. */
  learn(found: readonly (ShapeFound & { readonly kind: DatasetKind })[]): void {
    for (const shape of found) {
      const filled = this.#filled.get(bucketOf(shape.kind));
      const known = filled?.shapes.get(shape.name);
      filled?.shapes.set(shape.name, known ? { ...shape, rows: known.rows + shape.rows } : { ...shape });
    }
  }

  finish(reports: FileReport[]): ImportedVersion[] {
    const any = [...this.#filled.values()][0];
    for (const { reason, file, line, raw } of this.#unplaced) any?.writer.drop(reason, file, line, raw);
    const versions: ImportedVersion[] = [];
    const skipped: DroppedReason[] = [];
    for (const [bucket, { writer, shapes, removed, files, only }] of this.#filled) {
      if (writer.count === 0) {
        skipped.push(...writer.dropped);
        writer.discard();
        continue;
      }
      if (writer.count === 1 && only) this.#cut(bucket, only);
      const found = [...shapes.values()].sort((a, b) => b.rows - a.rows);
      const conversation = found.some((shape) => shape.kind === 'conversation');
      const kind = bucket === 'pairs' ? (conversation ? 'conversation' : 'instruction') : bucket;
      versions.push({
        ...(this.#filled.get(bucket)?.writer ?? writer).finish(this.#request.heldOut),
        kind,
        removed,
        // A file that gave rows of another kind only is another version's.
        files: reports.flatMap((report) => {
          const rows = files.get(report.name) ?? 0;
          return rows > 0 || report.rows === 0 ? [{ ...report, rows }] : [];
        }),
        shapes: found.map(({ name, rows, mapping, evidence }) => ({
          name,
          rows,
          mapping,
          evidence:
            name === 'documents' && evidence.length === 0
              ? [`${rows.toLocaleString('en')} ${rows === 1 ? 'document' : 'documents'} of text`]
              : evidence,
        })),
      });
    }
    versions[0]?.dropped.push(...skipped);
    if (versions.length > 0) return versions;
    throw nothingLeft(
      this.#filled.size > 0
        ? [...this.#filled.values()].flatMap(({ writer }) => writer.dropped)
        : tally(this.#unplaced),
      reports,
    );
  }

  /** One row alone cannot be both learned from and judged by; one document is cut at a paragraph near its end. */
  #cut(bucket: Bucket, only: Content): void {
    const parts = only.text === undefined ? null : cutTail(only.text, this.#request.heldOut);
    if (!parts)
      throw new FettleError(
        'DATA_EMPTY',
        'One row alone cannot be split into rows to learn from and rows to judge by.',
        'Bring at least two rows or documents.',
      );
    const before = this.#filled.get(bucket)!;
    before.writer.discard();
    const writer = new VersionWriter(this.#request.folder, bucket);
    writer.add({ source: only.source, text: parts[0] }, 'train');
    writer.add({ source: `${only.source} (its end)`, text: parts[1] }, 'held-out');
    this.#filled.set(bucket, { ...before, writer });
  }

  discard(): void {
    for (const { writer } of this.#filled.values()) writer.discard();
  }
}

const raw = (row: Row): string => JSON.stringify(row).slice(0, 2000);

function tally(dropped: readonly Dropped[]): Pick<DroppedReason, 'reason' | 'count'>[] {
  const counts = new Map<string, number>();
  for (const { reason } of dropped) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => ({ reason, count }));
}

function nothingLeft(
  dropped: readonly Pick<DroppedReason, 'reason' | 'count'>[],
  reports: readonly FileReport[],
): FettleError {
  const why = dropped.map(({ reason, count }) => `${count} with ${reason}`).join(', ');
  const errors = reports.flatMap((file) => file.error ?? []);
  // Pictures beside a file that is damaged are not why nothing is left.
  const failed = errors.find((error) => error.code !== 'FORMAT_UNKNOWN') ?? errors[0];
  return new FettleError(
    'DATA_EMPTY',
    `Nothing is left to train on${why ? `: ${why}` : failed ? `: ${failed.message}` : ''}`.replace(/\.?$/, '.'),
    failed?.hint ?? 'Check the file and its columns.',
  );
}

/** Says how far it is, now and then, and stops where it is asked to. */
class Progress {
  readonly #control: ImportControl;
  readonly #total: number;
  #before = 0;
  #within = 0;
  #said = 0;
  #rows = 0;
  #stage = 'Reading';

  constructor(files: readonly SourceFile[], control: ImportControl) {
    this.#control = control;
    this.#total = files.reduce((sum, file) => sum + file.bytes, 0);
  }
  read(bytes: number): void {
    this.#within = bytes;
  }
  done(file: SourceFile): void {
    this.#before += file.bytes;
    this.#within = 0;
    this.tick(this.#rows);
  }
  say(stage: string): void {
    this.#stage = stage;
    this.#said = 0;
    this.tick(this.#rows);
  }
  tick(rows: number): void {
    this.#rows = rows;
    if (this.#control.cancelled?.())
      throw new FettleError('CANCELLED', 'Bringing data in was cancelled.', 'Nothing was kept.');
    const now = performance.now();
    if (now - this.#said < PROGRESS_MS) return;
    this.#said = now;
    const bytes = Math.min(this.#total, this.#before + this.#within);
    this.#control.onProgress?.({ stage: this.#stage, bytes, totalBytes: this.#total, rows });
  }
}
