/** @file Whether there is a place for an export: a folder that is not there yet, where one may write, with room enough. */
import { existsSync } from 'node:fs';
import { mkdir, rm, rmdir, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bytes as inWords } from '../contract/bytes.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';

/** Bytes that are free where a path lies. */
export type FreeBytes = (path: string) => Promise<number>;
const freeOnDisk: FreeBytes = async (path) => {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
};

/** @throws TARGET_EXISTS */
export function checkUntaken(folder: string): void {
  if (existsSync(folder))
    throw new FettleError('TARGET_EXISTS', `${folder} exists already.`, 'Name a folder that does not exist yet.');
}

/** @throws TARGET_EXISTS, DISK_FULL, before anything is written */
export async function checkRoom(folder: string, needed: number, free: FreeBytes = freeOnDisk): Promise<void> {
  checkUntaken(folder);
  let nearest = dirname(folder);
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  const available = await free(nearest);
  if (available < needed)
    throw new FettleError(
      'DISK_FULL',
      `The export needs ${inWords(needed)}, and ${inWords(available)} are free there.`,
      'Free some space, choose another folder, or fewer bits.',
    );
}

/**
 * Makes the folder in which an export grows beside where it will lie, and those above it that are missing.
 * @returns what takes away all that was made, and nothing that was there or came there meanwhile.
 * @throws FILE_UNREADABLE where nothing may be written
 */
export async function makeStaging(staging: string): Promise<() => Promise<void>> {
  const above = foldersAbove(staging).filter((folder) => !existsSync(folder));
  const made: string[] = [];
  const clear = async (): Promise<void> => {
    if (made.includes(staging)) await rm(staging, { recursive: true, force: true });
    for (const folder of made.filter((each) => each !== staging).reverse()) await rmdir(folder).catch(() => undefined);
  };
  try {
    for (const folder of above) if (await makeFolder(folder)) made.push(folder);
    // Of an export that was killed: only ours are named so.
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging);
    made.push(staging);
    return clear;
  } catch (error) {
    await clear();
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT'].includes(code)) throw toFettleError(error);
    throw new FettleError(
      'FILE_UNREADABLE',
      `Nothing can be written in ${dirname(staging)}.`,
      'Choose another folder, or change its permissions.',
      { cause: error },
    );
  }
}

/** From the root down. */
const foldersAbove = (path: string): string[] =>
  dirname(path) === path ? [] : [...foldersAbove(dirname(path)), dirname(path)];

/** False where somebody else has made it meanwhile. */
const makeFolder = (folder: string): Promise<boolean> =>
  mkdir(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
