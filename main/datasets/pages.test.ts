/** @file A page of a version of ten million rows, without reading the rest. */
import { ftruncateSync, mkdtempSync, openSync, closeSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rowsPage } from './pages.ts';
import { HELD_OUT, INDEX_FILE, INDEX_RECORD, MARKS_FILE, ROWS_FILE } from './rows.ts';

const ROWS = 10_000_000;
const LAST = 100;
/** Where the last rows begin: files with holes, so that ten million rows take no room. */
const START = 2e9;

describe('ten million rows', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-pages-'));
  const file = join(folder, ROWS_FILE);
  const write = (name: string, bytes: Buffer, at: number, size: number): void => {
    const fd = openSync(join(folder, name), 'w');
    writeSync(fd, bytes, 0, bytes.length, at);
    ftruncateSync(fd, size);
    closeSync(fd);
  };
  beforeAll(() => {
    const lines = Array.from({ length: LAST }, (_, i) =>
      Buffer.from(`${JSON.stringify({ source: 'a', text: `ü${i}` })}\n`),
    );
    const index = Buffer.alloc(LAST * INDEX_RECORD);
    let at = START;
    for (const [i, line] of lines.entries()) {
      index.writeUIntLE(at, i * INDEX_RECORD, 6);
      if (i % 10 === 0) index.writeUInt16LE(HELD_OUT, i * INDEX_RECORD + 6);
      at += line.length;
    }
    const marks = Buffer.alloc(2);
    marks.writeUInt16LE(1);
    write(ROWS_FILE, Buffer.concat(lines), START, at);
    write(INDEX_FILE, index, (ROWS - LAST) * INDEX_RECORD, ROWS * INDEX_RECORD);
    write(MARKS_FILE, marks, (ROWS - 1) * 2, ROWS * 2);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are scrolled a page at a time, from anywhere to the end', async () => {
    const before = process.memoryUsage();
    const page = await rowsPage(file, { offset: ROWS - 20, limit: 40 });
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2 ** 20);
    expect(page.total).toBe(ROWS);
    expect(page.rows.map((row) => row.text)).toEqual(Array.from({ length: 20 }, (_, i) => `ü${80 + i}`));
    expect(page.rows[0]).toMatchObject({ index: ROWS - 20, split: 'held-out' });
    expect(page.rows.at(-1)).toMatchObject({ index: ROWS - 1, split: 'train', marks: [expect.any(String)] });
    expect((await rowsPage(file, { offset: ROWS, limit: 40 })).rows).toEqual([]);
  });

  it('are opened by what was found in them, without a list of them all', async () => {
    const [marked] = (await rowsPage(file, { offset: ROWS - 1, limit: 1 })).rows;
    const page = await rowsPage(file, { offset: 0, limit: 40, mark: marked!.marks[0]! });
    expect(page).toMatchObject({ total: 1, rows: [{ index: ROWS - 1 }] });
  });
});
