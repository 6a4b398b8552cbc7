/** @file Where the files lie that come with Fettle: packaged apps set FETTLE_RESOURCES; in the repository they lie at the top. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const resource = (...parts: readonly string[]): string =>
  join(process.env.FETTLE_RESOURCES ?? fileURLToPath(new URL('../../resources', import.meta.url)), ...parts);
