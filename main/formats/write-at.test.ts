/** @file Bytes at a place in a file: more than a system takes at once, and a disk that takes a part. */
import type { FileHandle } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { writeAt } from './write-at.ts';

type Write = FileHandle['write'];

describe('writeAt', () => {
  it('writes in pieces that the system takes, each where the one before ended', async () => {
    // Never touched: only its length counts.
    const bytes = new Uint8Array(5 * 2 ** 29);
    const asked: number[][] = [];
    const write = ((_: Uint8Array, at: number, length: number, position: number) => {
      asked.push([at, length, position]);
      return Promise.resolve({ bytesWritten: length, buffer: bytes });
    }) as Write;
    await writeAt({ write }, bytes, 7);
    expect(asked).toEqual([
      [0, 2 ** 30, 7],
      [2 ** 30, 2 ** 30, 2 ** 30 + 7],
      [2 ** 31, 2 ** 29, 2 ** 31 + 7],
    ]);
  });

  it('goes on after a part, so that a full disk says so', async () => {
    let room = 5;
    const write = ((buffer: Uint8Array, _: number, length: number) => {
      if (room === 0) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
      const bytesWritten = Math.min(room, length);
      room -= bytesWritten;
      return Promise.resolve({ bytesWritten, buffer });
    }) as Write;
    await expect(writeAt({ write }, new Uint8Array(8), 0)).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});
