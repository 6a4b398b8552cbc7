/** @file What files hold, from their first rows: what each looks like, what cannot be read and why, which readings are possible. Nothing is kept. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { FilePreview, ImportPreview } from '../contract/entities.ts';
import { toFettleError } from '../contract/errors.ts';
import { errorInfo, recognised, SAMPLE_ROWS, type RecognisedRecord } from './import.ts';
import { mapRow } from './map-row.ts';
import { listFiles } from './read/index.ts';
import type { SourceFile } from './read/record.ts';
import { Recogniser } from './shape.ts';

export interface PreviewRequest {
  readonly paths: readonly string[];
  readonly map?: Readonly<Record<string, string>> | undefined;
  readonly maps?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  /** A folder for what is unpacked meanwhile. */
  readonly temporary: string;
}

/** So many files are looked into; the rest is counted. */
const MOST_FILES = 60;
const SHOWN = 3;
const SHOWN_CHARACTERS = 1500;
const EXAMPLE_CHARACTERS = 120;

/** @throws FILE_NOT_FOUND, FILE_EMPTY; what one file fails with stands beside it. */
export async function previewFiles({ paths, map, maps, temporary }: PreviewRequest): Promise<ImportPreview> {
  const scratch = mkdtempSync(join(temporary, 'preview-'));
  try {
    const { files, refused } = await listFiles(paths, scratch);
    const previews: FilePreview[] = refused.map(({ name, error }) => ({ ...blank(name, 0), error: errorInfo(error) }));
    for (const file of files.slice(0, MOST_FILES)) previews.push(await preview(file, maps?.[file.name] ?? map));
    return { files: previews, more: Math.max(0, files.length - MOST_FILES) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const blank = (name: string, bytes: number): FilePreview => ({
  name,
  bytes,
  kind: null,
  shapes: [],
  columns: [],
  readings: [],
  rows: 0,
  dropped: [],
  removed: [],
  sample: [],
  error: null,
});

async function preview(file: SourceFile, map: PreviewRequest['map']): Promise<FilePreview> {
  const out = blank(file.name, file.bytes);
  try {
    const recogniser = new Recogniser(map);
    let seen = 0;
    for await (const block of recognised(file, recogniser)) {
      for (const record of block.slice(0, SAMPLE_ROWS - seen)) look(record, out);
      seen += block.length;
      if (seen >= SAMPLE_ROWS) break;
    }
    const shapes = recogniser.found;
    out.shapes = shapes.map(({ kind: _, ...shape }) => shape);
    out.kind = shapes[0]?.kind ?? (out.sample[0]?.text === undefined ? null : 'prose');
  } catch (error) {
    const known = toFettleError(error);
    const readings = known.details?.['readings'];
    if (Array.isArray(readings)) out.readings = readings as FilePreview['readings'];
    const columns = known.details?.['columns'];
    if (Array.isArray(columns) && out.columns.length === 0)
      out.columns = (columns as string[]).map((name) => ({ name, examples: [] }));
    out.error = errorInfo(known);
  }
  return out;
}

function look(record: RecognisedRecord, out: FilePreview): void {
  if (record.kind === 'bad') return count(out, record.reason, record.line);
  out.rows++;
  if (record.kind === 'text') {
    out.removed = (record.removed ?? []).map((it) => ({ ...it, examples: [...it.examples], file: out.name }));
    out.sample.push({ text: record.text.slice(0, SHOWN_CHARACTERS) });
    return;
  }
  for (const [name, value] of Object.entries(record.row).slice(0, 200)) {
    const known = out.columns.find((column) => column.name === name);
    const column = known ?? { name, examples: [] };
    if (!known) out.columns.push(column);
    if (column.examples.length < SHOWN && value !== null && value !== '')
      column.examples.push((typeof value === 'string' ? value : JSON.stringify(value)).slice(0, EXAMPLE_CHARACTERS));
  }
  if (record.reading.is !== 'shape') return;
  for (const mapped of mapRow(record.row, record.reading.shape)) {
    if (!mapped.ok) count(out, mapped.reason, record.line);
    else if (out.sample.length < SHOWN)
      out.sample.push(
        'text' in mapped ? { text: mapped.text.slice(0, SHOWN_CHARACTERS) } : { messages: [...mapped.messages] },
      );
  }
}

function count(out: FilePreview, reason: string, line: number | null): void {
  const known = out.dropped.find((it) => it.reason === reason);
  if (known) known.count++;
  else out.dropped.push({ reason, count: 1, examples: [{ file: out.name, line }] });
}
