/** @file Opens the database and brings its schema up to date. */
import Database from 'better-sqlite3';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Db } from './context.ts';
import { initial } from './migrations/001-initial.ts';
import { datasets } from './migrations/002-datasets.ts';
import { measurements } from './migrations/003-measurements.ts';
import { stages } from './migrations/004-stages.ts';
import { pilots } from './migrations/005-pilots.ts';
import { curves } from './migrations/006-curves.ts';
import { talk } from './migrations/007-talk.ts';
import { importedAdapters } from './migrations/008-imported-adapters.ts';
import { calibrations } from './migrations/009-calibrations.ts';

/** In order; the number of a migration is its place, from 1, and is kept in user_version. */
const MIGRATIONS: readonly string[] = [
  initial,
  datasets,
  measurements,
  stages,
  pilots,
  curves,
  talk,
  importedAdapters,
  calibrations,
];

/** @throws DATABASE_NEWER, DATABASE_BROKEN, FILE_UNREADABLE, DISK_FULL */
export function openDatabase(path: string): Db {
  let db: Db | undefined;
  try {
    db = new Database(path);
    db.pragma('journal_mode = WAL');
    db.pragma('foreign_keys = ON');
    db.pragma('synchronous = NORMAL');
    db.pragma('busy_timeout = 5000');
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    throw describe(error, path);
  }
}

function migrate(db: Db, path: string): void {
  const version = Number(db.pragma('user_version', { simple: true }));
  if (version > MIGRATIONS.length)
    throw new FettleError(
      'DATABASE_NEWER',
      `${path} was written by a newer Fettle (schema ${version}; this one knows ${MIGRATIONS.length}).`,
      'Use the newer Fettle, or another home folder with --home. Nothing was changed.',
    );
  for (const [i, sql] of MIGRATIONS.entries())
    if (i >= version)
      // Whole or not at all: a power cut in between leaves the version before.
      db.transaction(() => {
        db.exec(sql);
        db.pragma(`user_version = ${i + 1}`);
      })();
}

function describe(error: unknown, path: string): FettleError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT')
    return new FettleError(
      'DATABASE_BROKEN',
      `${path} is damaged or no database.`,
      'Put a copy of it back, or move it away to begin anew; models and checkpoints lie beside it untouched.',
      { cause: error },
    );
  if (code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_READONLY'))
    return new FettleError(
      'FILE_UNREADABLE',
      `${path} cannot be opened for writing.`,
      'Check its permissions, or choose another home with --home.',
      { cause: error },
    );
  return toFettleError(error);
}
