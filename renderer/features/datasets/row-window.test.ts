/** @file The window of rows: it moves both ways over millions without holding them, and forgets what was asked before. */
import { describe, expect, it } from 'vitest';
import type { DatasetRow } from '../../../main/contract/entities.ts';
import { RowWindow } from './row-window.svelte.ts';

const row = (index: number): DatasetRow => ({
  index,
  split: 'train',
  source: 'a',
  text: `${index}`,
  marks: [],
  personal: [],
});
const TOTAL = 10_000_000;
const window = (total: number | null = TOTAL): RowWindow =>
  new RowWindow((offset, limit) =>
    Promise.resolve({
      total,
      rows: Array.from({ length: Math.max(0, Math.min(limit, TOTAL - offset)) }, (_, i) => row(offset + i)),
    }),
  );
const held = ({ rows }: RowWindow): [number | undefined, number | undefined] => [rows[0]?.index, rows.at(-1)?.index];

describe('the window of rows', () => {
  it('moves on and back, and holds few', async () => {
    const rows = window();
    await rows.reset();
    expect(held(rows)).toEqual([0, 39]);
    for (let i = 0; i < 10; i++) await rows.after();
    expect(held(rows)).toEqual([280, 439]);
    expect(rows.from).toBe(280);
    await rows.before();
    expect(held(rows)).toEqual([240, 399]);
    await rows.reset(9_999_990);
    expect(held(rows)).toEqual([9_999_990, 9_999_999]);
    await rows.after();
    expect(held(rows)).toEqual([9_999_990, 9_999_999]);
    await rows.before();
    expect(held(rows)).toEqual([9_999_950, 9_999_999]);
  });

  it('asks on where nobody knows how many there are', async () => {
    const rows = window(null);
    await rows.reset();
    await rows.after();
    expect(held(rows)).toEqual([0, 79]);
  });

  it('drops the answer to what is no longer asked', async () => {
    const late: (() => void)[] = [];
    const rows = new RowWindow(
      (offset) => new Promise((resolve) => late.push(() => resolve({ total: 100, rows: [row(offset)] }))),
    );
    const first = rows.reset(5);
    const second = rows.reset(50);
    late[1]!();
    await second;
    late[0]!();
    await first;
    expect(held(rows)).toEqual([50, 50]);
  });
});
