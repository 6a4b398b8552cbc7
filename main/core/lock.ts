/** @file One host a home: a lock that the system frees with the process, and a file that says who holds it and where commands reach it. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';

const HostInfo = z.object({
  pid: z.int(),
  /** Of the local API; 0 until it listens, and again when it closes. */
  port: z.int(),
  token: z.string(),
  kind: z.enum(['electron', 'web', 'command']),
  startedAt: z.string(),
});
export type HostInfo = z.infer<typeof HostInfo>;

export interface Lock {
  /** Writes down where the host listens; 0 while it does not take new clients. */
  announce(port: number): void;
  release(): void;
}

/** Whoever only looks whether it is held has it for a moment; that long a taker waits. Milliseconds. */
const PATIENCE = 500;
const infoFile = (home: string): string => join(home, 'host.json');

/**
 * An exclusive transaction on a database that holds nothing. SQLite locks the file through the system on every
 * platform, and the system frees it when the process ends, however it ends: a lock can be neither stale nor stolen.
 * @returns how to let go, null where another holds it.
 */
function hold(home: string, patience: number): (() => void) | null {
  const db = new Database(join(home, 'host.lock.sqlite'), { timeout: patience });
  try {
    db.exec('BEGIN EXCLUSIVE');
    return () => void db.close();
  } catch (error) {
    db.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return null;
    throw error;
  }
}

const readInfo = (home: string): HostInfo | null => {
  try {
    return HostInfo.parse(JSON.parse(readFileSync(infoFile(home), 'utf8')));
  } catch {
    return null;
  }
};

/** The living host of a home; `unknown` where one has just taken the lock and not said yet who it is; null where there is none. */
export function findHost(home: string): HostInfo | 'unknown' | null {
  let free: (() => void) | null;
  try {
    free = hold(home, 0);
  } catch {
    // No such home yet.
    return null;
  }
  if (!free) return readInfo(home) ?? 'unknown';
  free();
  return null;
}

/** @throws HOME_LOCKED, naming who holds it. */
export function takeLock(home: string, info: Omit<HostInfo, 'port'>): Lock {
  const letGo = hold(home, PATIENCE);
  if (!letGo) throw locked(home, readInfo(home));
  const announce = (port: number): void => {
    const next = `${infoFile(home)}.next`;
    writeFileSync(next, JSON.stringify({ ...info, port }), { mode: 0o600 });
    renameSync(next, infoFile(home));
  };
  announce(0);
  return {
    announce,
    release() {
      rmSync(infoFile(home), { force: true });
      letGo();
    },
  };
}

function locked(home: string, holder: HostInfo | null): FettleError {
  const who = { electron: 'the Fettle window', web: '`fettle serve`', command: 'a fettle command' };
  return new FettleError(
    'HOME_LOCKED',
    holder
      ? `${home} is in use by ${who[holder.kind]} (process ${holder.pid}, since ${holder.startedAt}).`
      : `${home} is in use.`,
    'Use that one, close it, or choose another home with --home.',
    { details: { pid: holder?.pid } },
  );
}
