/** @file A file from the browser, kept aside whole or not at all. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FettleError, toFettleError } from '../../contract/errors.ts';

const MOST_BYTES = 20e9;

/** @returns its absolute path: a folder of its own, under its own name made harmless. @throws DISK_FULL, INPUT_INVALID */
export async function receiveUpload(request: IncomingMessage, uploads: string, name: string): Promise<string> {
  const safe =
    name
      .split(/[\\/]/)
      .at(-1)!
      .replaceAll(/[<>:"|?*\x00-\x1f]/g, '_')
      .replace(/^\.+/, '')
      // At most 255 bytes may name a file, and a character takes up to four.
      .slice(-50) || 'file';
  const folder = join(uploads, randomUUID());
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const partial = join(folder, `.${safe}.part`);
  let bytes = 0;
  const limit = new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      done(
        bytes > MOST_BYTES
          ? new FettleError(
              'INPUT_INVALID',
              'That file is larger than a browser can hand over.',
              'Choose it from the folders of this machine instead.',
            )
          : null,
        chunk,
      );
    },
  });
  try {
    await pipeline(request, limit, createWriteStream(partial, { mode: 0o600 }));
    await rename(partial, join(folder, safe));
    return join(folder, safe);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw toFettleError(error);
  }
}
