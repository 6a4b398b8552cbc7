/** @file Fills a buffer from a place in a file. */
import type { FileHandle } from 'node:fs/promises';
import { FettleError } from '../contract/errors.ts';

/** One read of more than 2 GiB is refused by the system. */
const MOST_AT_ONCE = 2 ** 30;

/** @throws FILE_TRUNCATED */
export async function readExactly(file: FileHandle, path: string, into: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < into.length;) {
    const { bytesRead } = await file.read(into, at, Math.min(into.length - at, MOST_AT_ONCE), position + at);
    if (bytesRead === 0)
      throw new FettleError('FILE_TRUNCATED', `${path} ended while it was read.`, 'Copy or download it again.');
    at += bytesRead;
  }
}
