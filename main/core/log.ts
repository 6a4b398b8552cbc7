/** @file The log: a line of JSON for each thing worth knowing afterwards. What people's data say is never in it. */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Log } from './context.ts';

/** Then it begins anew; the one before is kept. */
const MOST_BYTES = 5e6;

export function openLog(folder: string, clock: Clock): Log {
  const file = join(folder, 'fettle.log');
  const write = (level: string, message: string, details: Readonly<Record<string, unknown>> = {}): void => {
    try {
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MOST_BYTES)
        renameSync(file, join(folder, 'fettle.1.log'));
      appendFileSync(file, `${JSON.stringify({ at: clock.now(), level, message, ...details })}\n`, { mode: 0o600 });
    } catch {
      // A disk that is full must not stop the work that a log line is about.
    }
  };
  return {
    info: (message, details) => write('info', message, details),
    warn: (message, details) => write('warn', message, details),
    error: (message, details) => write('error', message, details),
  };
}
