/** @file The place of an export: a folder that is not there yet, where one may write, with room enough; where it grows until it has that name. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bytes as inWords } from '../contract/bytes.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { freeBytes } from '../formats/disk.ts';
import { flushFolder } from '../formats/flush.ts';

const taken = (folder: string): FettleError =>
  new FettleError('TARGET_EXISTS', `${folder} exists already.`, 'Name a folder that does not exist yet.');

const unwritable = (folder: string, cause?: unknown): FettleError =>
  new FettleError(
    'FILE_UNREADABLE',
    `Nothing can be written in ${folder}.`,
    'Choose another folder, or change its permissions.',
    { cause },
  );

/** @throws TARGET_EXISTS */
function checkUntaken(folder: string): void {
  if (existsSync(folder)) throw taken(folder);
}

/** What can be told of a place before an export waits for its turn. @throws TARGET_EXISTS, FILE_UNREADABLE */
export function checkPlace(folder: string): void {
  checkUntaken(folder);
  const above = nearestAbove(folder);
  try {
    accessSync(above, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(above, error);
  }
  if (!statSync(above).isDirectory()) throw unwritable(above);
}

/** The nearest folder above that is there. */
function nearestAbove(folder: string): string {
  const above = dirname(folder);
  return existsSync(above) || above === folder ? above : nearestAbove(above);
}

/** @throws TARGET_EXISTS, DISK_FULL, before anything is written */
export async function checkRoom(folder: string, needed: number, free: typeof freeBytes = freeBytes): Promise<void> {
  checkUntaken(folder);
  const available = await free(nearestAbove(folder));
  if (available < needed)
    throw new FettleError(
      'DISK_FULL',
      `The export needs ${inWords(needed)}, and ${inWords(available)} are free there.`,
      'Free some space, choose another folder, or fewer bits.',
    );
}

/** Where an export grows until it has its name. */
export interface Staging {
  readonly path: string;
  /** Gives it its name; nothing is overwritten. @throws TARGET_EXISTS */
  name(): Promise<void>;
  /** Takes away all that was made, and nothing that was there or came there meanwhile. */
  clear(): Promise<void>;
}

/** Beside where the export will lie, so that naming it moves nothing; of one job alone, whatever home it belongs to. */
const stagingPath = (folder: string, job: string): string => join(dirname(folder), `.${job}.exporting`);

/** Files that a process held may be held a moment longer. */
export const removeFolder = (path: string): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 5 });

/**
 * Makes the folder in which an export grows, and those above it that are missing.
 * @param job by whose id it is told from others. @throws FILE_UNREADABLE where nothing may be written
 */
export async function makeStaging(folder: string, job: string): Promise<Staging> {
  const path = stagingPath(folder, job);
  const above = foldersAbove(path).filter((each) => !existsSync(each));
  const made: string[] = [];
  const clear = async (): Promise<void> => {
    if (made.includes(path)) await removeFolder(path);
    for (const each of made.filter((each) => each !== path).toReversed()) await rmdir(each).catch(() => undefined);
  };
  const name = async (): Promise<void> => {
    checkUntaken(folder);
    await rename(path, folder).catch((error: NodeJS.ErrnoException) => {
      // It came there in this very moment.
      if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST' || error.code === 'ENOTDIR') throw taken(folder);
      throw toFettleError(error);
    });
    await flushFolder(dirname(folder));
  };
  try {
    for (const each of above) if (await makeFolder(each)) made.push(each);
    await mkdir(path);
    made.push(path);
    return { path, name, clear };
  } catch (error) {
    await clear();
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT'].includes(code)) throw toFettleError(error);
    throw unwritable(dirname(path), error);
  }
}

/** Of an export whose host ended before it could: what had grown is taken away. */
export const clearInterrupted = (folder: string, job: string): Promise<void> => removeFolder(stagingPath(folder, job));

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
