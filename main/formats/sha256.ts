/** @file The SHA-256 of a file, in hexadecimal digits, read by blocks; given up where a signal says so. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

export async function sha256(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) }))
    hash.update(chunk as Buffer);
  return hash.digest('hex');
}
