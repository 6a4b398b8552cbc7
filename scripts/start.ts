/** @file `npm start`: builds the workbench where it is missing or older than its sources, and opens it: in its own window where Electron's binary is there, else in the browser. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { electronBinary } from './electron.ts';

const newest = (folder: string): number =>
  Math.max(
    0,
    ...readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );
const builtAt = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const bin = (name: string): string => join('node_modules', '.bin', name);
if (builtAt('dist/renderer/index.html') < Math.max(newest('renderer'), newest('main/contract'))) {
  process.stderr.write('Building the workbench...\n');
  run(bin('vite'), ['build', '--logLevel', 'warn']);
}
const binary = electronBinary();
if (binary) {
  if (builtAt('dist/electron/main.js') < Math.max(newest('main'), newest('preload')))
    for (const mode of ['production', 'preload'])
      run(bin('vite'), ['build', '--config', 'vite.electron.config.ts', '--mode', mode, '--logLevel', 'warn']);
  run(binary, ['.', ...process.argv.slice(2)]);
} else run(process.execPath, ['main/cli/fettle.ts', 'serve', ...process.argv.slice(2)]);
