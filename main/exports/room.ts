/** @file Whether there is a place for an export: a folder that is not there yet, where one may write, with room enough. */
import { existsSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
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

/** Makes the folder in which an export grows beside where it will lie. @throws FILE_UNREADABLE where nothing may be written */
export async function makeStaging(staging: string): Promise<void> {
  await mkdir(staging, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT'].includes(error.code ?? ''))
      throw toFettleError(error);
    throw new FettleError(
      'FILE_UNREADABLE',
      `Nothing can be written in ${dirname(staging)}.`,
      'Choose another folder, or change its permissions.',
      { cause: error },
    );
  });
}
