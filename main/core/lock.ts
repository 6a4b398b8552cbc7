/** @file One host a home: the lock file says which process that is, and where commands reach it. */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';

const HostInfo = z.object({
  pid: z.int(),
  /** Of the local API; 0 until it listens. */
  port: z.int(),
  token: z.string(),
  kind: z.enum(['electron', 'web', 'command']),
  startedAt: z.string(),
});
export type HostInfo = z.infer<typeof HostInfo>;

export interface Lock {
  /** Writes down where the host listens. */
  announce(port: number): void;
  release(): void;
}

const fileOf = (home: string): string => join(home, 'host.lock');

/** The living host of a home, null where there is none. */
export function findHost(home: string): HostInfo | null {
  try {
    const info = HostInfo.parse(JSON.parse(readFileSync(fileOf(home), 'utf8')));
    return alive(info.pid) ? info : null;
  } catch {
    return null;
  }
}

/** Removes the lock of a host that no longer listens: its process is gone, and another has got its number. */
export function breakLock(home: string, host: HostInfo): void {
  const found = findHost(home);
  if (found?.pid === host.pid && found.startedAt === host.startedAt) rmSync(fileOf(home), { force: true });
}

/** @throws HOME_LOCKED, naming who holds it. A lock whose process is gone is taken over. */
export function takeLock(home: string, info: Omit<HostInfo, 'port'>): Lock {
  const file = fileOf(home);
  for (let tries = 0; ; tries++) {
    try {
      const handle = openSync(file, 'wx', 0o600);
      writeSync(handle, JSON.stringify({ ...info, port: 0 }));
      closeSync(handle);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = findHost(home);
      if (holder || tries > 3) throw locked(home, holder);
      // Renamed before it is removed: of two that find it stale only one can rename it.
      const stale = `${file}.stale-${process.pid}`;
      try {
        renameSync(file, stale);
        rmSync(stale, { force: true });
      } catch {
        // Somebody else was quicker; look again.
      }
    }
  }
  const mine = (): boolean => findHost(home)?.pid === info.pid;
  return {
    announce(port) {
      const next = `${file}.next-${process.pid}`;
      writeFileSync(next, JSON.stringify({ ...info, port }), { mode: 0o600 });
      renameSync(next, file);
    },
    release: () => mine() && rmSync(file, { force: true }),
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

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
