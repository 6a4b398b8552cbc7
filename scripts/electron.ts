/** @file Whether the desktop shell can be opened on this machine. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const PROGRAMS: Readonly<Record<string, string>> = {
  win32: 'electron.exe',
  darwin: 'Electron.app/Contents/MacOS/Electron',
};

/** Path of Electron's binary, null where it was not fetched: it does not come from the package registry. */
export function electronBinary(): string | null {
  try {
    const folder = join(createRequire(import.meta.url).resolve('electron/package.json'), '..');
    const binary = join(folder, 'dist', PROGRAMS[process.platform] ?? 'electron');
    return existsSync(binary) ? binary : null;
  } catch {
    return null;
  }
}
