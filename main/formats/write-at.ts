/** @file Puts bytes at a place in a file, all of them. */
import type { FileHandle } from 'node:fs/promises';

/** One write of more than 2 GiB is refused. */
const MOST_AT_ONCE = 2 ** 30;

/** @throws what the system says: of a disk that fills up it takes a part, and refuses the next. */
export async function writeAt(file: Pick<FileHandle, 'write'>, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(MOST_AT_ONCE, bytes.length - at);
    at += (await file.write(bytes, at, length, position + at)).bytesWritten;
  }
}
