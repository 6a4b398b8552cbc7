/** @file Folders that are there whole or not at all: written under a temporary name, flushed, listed in a manifest, renamed. */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { flush, flushFolder } from '../../formats/flush.ts';

const MANIFEST = 'manifest.json';
/** What is being written or removed; swept away at the next start. */
const TEMPORARY = '.tmp-';

const Manifest = z.strictObject({
  version: z.literal(1),
  /** By file name: size in bytes and SHA-256. */
  files: z.record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/),
    z.strictObject({ size: z.int(), sha256: z.string() }),
  ),
});

/**
 * Writes a folder of plain files, all or nothing; one of the same name is replaced.
 * @param fill writes the files into the folder whose path it is given.
 * @returns the bytes of its files. Throws DISK_FULL (nothing is left behind) and what `fill` throws.
 */
export async function writeFolder(
  parent: string,
  name: string,
  fill: (path: string) => Promise<void>,
): Promise<number> {
  const temporary = join(parent, `${TEMPORARY}${name}-${process.pid}`);
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    await fill(temporary);
    const files: z.infer<typeof Manifest>['files'] = {};
    for (const file of (await readdir(temporary)).sort()) {
      await flush(join(temporary, file));
      files[file] = await fingerprint(join(temporary, file));
    }
    const manifest = await open(join(temporary, MANIFEST), 'w');
    try {
      await manifest.writeFile(JSON.stringify({ version: 1, files }));
      await manifest.sync();
    } finally {
      await manifest.close();
    }
    await flushFolder(temporary);
    await removeFolder(parent, name);
    await rename(temporary, join(parent, name));
    await flushFolder(parent);
    return Object.values(files).reduce((sum, { size }) => sum + size, 0);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw toFettleError(error);
  }
}

/** Removes a folder in one moment: it loses its name first. */
export async function removeFolder(parent: string, name: string): Promise<void> {
  const doomed = join(parent, `${TEMPORARY}removed-${name}-${process.pid}`);
  await rm(doomed, { recursive: true, force: true });
  try {
    await rename(join(parent, name), doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await rm(doomed, { recursive: true, force: true });
}

/** Clears up after an interrupted process: what was written whole but not yet named gets its name, the rest goes. */
export async function sweepTemporary(parent: string): Promise<void> {
  const names = await readdir(parent);
  for (const temporary of names.filter((name) => name.startsWith(TEMPORARY))) {
    const path = join(parent, temporary);
    const name = /^\.tmp-(?!removed-)(.+)-\d+$/.exec(temporary)?.[1];
    const whole = name !== undefined && !names.includes(name) && (await isWhole(path));
    if (whole) await rename(path, join(parent, name));
    else await rm(path, { recursive: true, force: true });
  }
}

const isWhole = (path: string): Promise<boolean> =>
  verifyFolder(path, true).then(
    () => true,
    () => false,
  );

/**
 * Compares a folder with its manifest: sizes, and with `deep` also hashes.
 * @returns the bytes of its files. Throws CHECKPOINT_INVALID where a file is missing, short or changed.
 */
export async function verifyFolder(path: string, deep: boolean): Promise<number> {
  const broken = (what: string, cause?: unknown): FettleError =>
    new FettleError('CHECKPOINT_INVALID', `The checkpoint ${path} is damaged: ${what}.`, 'Use an earlier checkpoint.', {
      cause,
    });
  let manifest: z.infer<typeof Manifest>;
  try {
    manifest = Manifest.parse(JSON.parse(await readFile(join(path, MANIFEST), 'utf8')));
  } catch (error) {
    throw broken('its manifest is missing or unreadable', error);
  }
  let bytes = 0;
  for (const [file, expected] of Object.entries(manifest.files)) {
    const size = await stat(join(path, file)).then(
      (it) => it.size,
      () => null,
    );
    if (size === null) throw broken(`${file} is missing`);
    if (size !== expected.size) throw broken(`${file} has ${size} bytes instead of ${expected.size}`);
    if (deep && (await fingerprint(join(path, file))).sha256 !== expected.sha256)
      throw broken(`${file} has changed since it was written`);
    bytes += size;
  }
  return bytes;
}

async function fingerprint(path: string): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    // Read through one buffer: a stream's pieces would pile up in memory to the size of the file.
    const buffer = Buffer.alloc(1 << 20);
    let size = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, size);
      if (bytesRead === 0) return { size, sha256: hash.digest('hex') };
      hash.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
  } finally {
    await file.close();
  }
}
