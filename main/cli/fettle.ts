#!/usr/bin/env node
/**
 * @file What `fettle` starts with: Node keeps what it makes of the source, so that the command, its child processes and
 * their threads need not read and compile all of it at every start (docs/decisions/run-typescript-directly.md).
 */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The platform's folder for what can be made again: it is code and no data, and the same for every home. An empty variable counts as none. */
function codeFolder(): string {
  const { NODE_COMPILE_CACHE, LOCALAPPDATA, XDG_CACHE_HOME } = process.env;
  if (NODE_COMPILE_CACHE) return NODE_COMPILE_CACHE;
  if (process.platform === 'win32') return join(LOCALAPPDATA || join(homedir(), 'AppData', 'Local'), 'Fettle', 'code');
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'Fettle', 'code');
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'fettle', 'code');
}

const folder = codeFolder();
// Where it cannot be written all is compiled, as ever.
enableCompileCache(folder);
// Child processes take it from there.
process.env['NODE_COMPILE_CACHE'] = folder;
await import('./main.ts');
