/** @file Lists a folder of this machine, so that a person can pick files in a browser. */
import { readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, extname, join, resolve } from 'node:path';
import type { OutputOf, ParsedInputOf } from '../contract/api.ts';
import { toFettleError } from '../contract/errors.ts';
import { READABLE } from '../datasets/read/kinds.ts';

/** Endings that can be chosen for a purpose; folders always. */
const ENDINGS: Readonly<Record<ParsedInputOf<'app.browse'>['purpose'], readonly string[]>> = {
  data: READABLE,
  model: ['.gguf'],
  folder: [],
};
const MOST_ENTRIES = 2000;

/** Hidden entries, and those that may not be looked at, are left out. @throws FILE_NOT_FOUND, FILE_UNREADABLE */
export async function browse({ path, purpose }: ParsedInputOf<'app.browse'>): Promise<OutputOf<'app.browse'>> {
  const folder = resolve(path ?? homedir());
  const names = await readdir(folder).catch((error: unknown) => {
    throw toFettleError(error);
  });
  const shown = names.filter((name) => !name.startsWith('.')).slice(0, MOST_ENTRIES);
  const entries = await Promise.all(
    shown.map(async (name) => {
      const facts = await stat(join(folder, name)).catch(() => null);
      const chosen = facts && (facts.isDirectory() || ENDINGS[purpose].includes(extname(name).toLowerCase()));
      return chosen
        ? [{ name, path: join(folder, name), folder: facts.isDirectory(), bytes: facts.isFile() ? facts.size : 0 }]
        : [];
    }),
  );
  const parent = dirname(folder);
  return {
    path: folder,
    parent: parent === folder ? null : parent,
    entries: entries
      .flat()
      .sort((a, b) => Number(b.folder) - Number(a.folder) || a.name.localeCompare(b.name, 'en', { numeric: true })),
  };
}
