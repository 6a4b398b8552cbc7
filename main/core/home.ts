/** @file FETTLE_HOME: where everything that Fettle keeps lies. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { toFettleError } from '../contract/errors.ts';
import type { Home } from './context.ts';

/** FETTLE_HOME, else the platform's folder for an application's data. */
export function defaultHome(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env['FETTLE_HOME']) return resolve(env['FETTLE_HOME']);
  if (platform === 'win32') return join(env['APPDATA'] || join(homedir(), 'AppData', 'Roaming'), 'Fettle');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'Fettle');
  return join(env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'fettle');
}

/** Removes what a host that was killed had begun to write: whatever has its final name is whole and stays. */
export function sweepHome({ projects, models, prepared, temporary }: Home): void {
  const sweep = (folder: string, unfinished: RegExp): void => {
    for (const name of existsSync(folder) ? readdirSync(folder) : [])
      if (unfinished.test(name)) rmSync(join(folder, name), { recursive: true, force: true });
  };
  // What a browser handed over belongs to nobody any more.
  sweep(temporary, /^(?:uploads$|preview-|adapter-|calibration-|deleted-)/);
  sweep(models, /\.adding$/);
  for (const entry of readdirSync(prepared, { withFileTypes: true }))
    if (entry.isDirectory()) sweep(join(prepared, entry.name), /\.tmp$/);
  for (const project of readdirSync(projects)) {
    sweep(join(projects, project, 'datasets'), /^\.(?:importing|unpacking)-/);
    sweep(join(projects, project, 'exports'), /^\..*\.exporting$/);
  }
}

/** Makes the folders that are missing, readable by their owner alone. @throws FILE_UNREADABLE, DISK_FULL */
export function openHome(root: string): Home {
  const folder = (...parts: string[]): string => join(root, ...parts);
  try {
    const own = ['models', 'prepared', 'projects', 'temporary', 'logs'];
    for (const path of [root, ...own.map((name) => folder(name))]) mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw toFettleError(error);
  }
  const project = (slug: string): string => folder('projects', slug);
  return {
    root,
    models: folder('models'),
    prepared: folder('prepared'),
    projects: folder('projects'),
    temporary: folder('temporary'),
    logs: folder('logs'),
    project,
    run: (slug, run) => join(project(slug), 'runs', run),
  };
}
