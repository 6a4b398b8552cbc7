/** @file A page of a version's rows or of what was left out, without loading the rest. */
import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DroppedRow, type DatasetRow, type Mark } from '../contract/entities.ts';
import { findPersonal } from './quality/personal.ts';
import { countRows, partsOfRow, readAt, readLines, readRange, RowIndex, textOfRow, type StoredRow } from './rows.ts';
import { DROPPED_FILE } from './version.ts';

interface PageRequest {
  readonly offset: number;
  readonly limit: number;
  readonly search?: string | undefined;
  readonly mark?: Mark | undefined;
  readonly longerThan?: { readonly tokens: number } | undefined;
}

/**
 * Rows by number, by what is marked, by length, or by a text in them (case ignored); a search ends with the page, and
 * `total` is null then.
 * @param lengths tokens of each row, where `longerThan` is asked.
 */
export async function rowsPage(
  file: string,
  { offset, limit, search, mark, longerThan }: PageRequest,
  lengths: Uint32Array | null = null,
): Promise<{ total: number | null; rows: DatasetRow[] }> {
  const view = ({ messages, ...row }: StoredRow, marks: Mark[]): DatasetRow => ({
    ...row,
    ...(messages ? { messages: [...messages] } : {}),
    marks,
    personal: partsOfRow({ ...row, messages: messages ?? [] }).flatMap((text, part) =>
      findPersonal(text).map((found) => ({ part, ...found })),
    ),
  });
  // Scrolling reads a page, however many rows there are.
  if (!search && !mark && !longerThan)
    return {
      total: await countRows(file),
      rows: (await readRange(file, offset, limit)).map(({ row, marks }) => view(row, marks)),
    };
  const index = await RowIndex.open(file);
  const wantedRow = (i: number): boolean =>
    (!mark || index.has(i, mark)) && (!longerThan || (lengths?.[i] ?? 0) > longerThan.tokens);
  if (search) {
    const wanted = search.toLowerCase();
    const rows: DatasetRow[] = [];
    let matched = 0;
    for await (const block of readLines(file))
      for (const line of block) {
        // JSON writes some signs otherwise: what is plain is looked for in the line, before it is parsed.
        if (/^[\w ]+$/.test(wanted) && !line.raw.toLowerCase().includes(wanted)) continue;
        const row = line.row();
        if (!textOfRow(row).toLowerCase().includes(wanted)) continue;
        if (!wantedRow(row.index)) continue;
        if (matched++ < offset) continue;
        if (rows.length === limit) return { total: null, rows };
        rows.push(view(row, index.marks(row.index)));
      }
    return { total: matched, rows };
  }
  const numbers: number[] = [];
  let total = 0;
  for (let i = 0; i < index.count; i++) {
    if (!wantedRow(i)) continue;
    if (total >= offset && numbers.length < limit) numbers.push(i);
    total++;
  }
  return { total, rows: (await readAt(file, index, numbers)).map((row) => view(row, index.marks(row.index))) };
}

export async function droppedRows(
  folder: string,
  { offset, limit, reason }: { readonly offset: number; readonly limit: number; readonly reason?: string | undefined },
): Promise<{ total: number; rows: DroppedRow[] }> {
  const path = join(folder, DROPPED_FILE);
  const rows: DroppedRow[] = [];
  let total = 0;
  if (!existsSync(path)) return { total, rows };
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    const row = DroppedRow.parse(JSON.parse(line));
    if (reason !== undefined && row.reason !== reason) continue;
    if (total >= offset && rows.length < limit) rows.push(row);
    total++;
  }
  return { total, rows };
}
