/** @file `npm run check`: types, lint with layering, format, dead code. All at once; ends with 1 where any of them found something. */
import { spawn } from 'node:child_process';

const CHECKS: Readonly<Record<string, readonly string[]>> = {
  types: ['tsc', '--noEmit', '-p', 'tsconfig.json'],
  'types of the workbench': [
    'svelte-check',
    '--tsconfig',
    'renderer/tsconfig.json',
    '--fail-on-warnings',
    '--output',
    'human',
  ],
  lint: ['eslint', '.', '--max-warnings', '0', '--cache', '--cache-location', 'node_modules/.cache/eslint/'],
  layers: ['depcruise', '--config', '.dependency-cruiser.cjs', 'main', 'renderer', 'preload'],
  format: ['prettier', '--check', '--log-level', 'warn', '--cache', '.'],
  'dead code': ['knip', '--no-progress'],
};

interface Outcome {
  readonly name: string;
  readonly ok: boolean;
  readonly output: string;
  readonly seconds: number;
}

function run(name: string, [tool, ...args]: readonly string[]): Promise<Outcome> {
  const start = performance.now();
  return new Promise((resolve) => {
    const child = spawn(`node_modules/.bin/${tool}`, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: Buffer): void => void (output += chunk.toString());
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('close', (code) => resolve({ name, ok: code === 0, output, seconds: (performance.now() - start) / 1000 }));
  });
}

const outcomes = await Promise.all(Object.entries(CHECKS).map(([name, command]) => run(name, command)));
for (const { name, ok, output, seconds } of outcomes) {
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s)`);
  if (!ok) console.log(output.trim().replaceAll(/^/gm, '       '));
}
process.exitCode = outcomes.every(({ ok }) => ok) ? 0 : 1;
