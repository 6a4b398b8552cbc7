/** @file `npm test`: sets up what the tests need, runs them all, and closes with one line of counts. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { found } from '../test/support/needs.ts';

const cache = 'test/.cache';
const home = join(cache, 'home');
mkdirSync(cache, { recursive: true });

function run(
  title: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): boolean {
  console.log(`\n== ${title}`);
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (error) console.error(error.message);
  return status === 0;
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const skips: string[] = [];

/** A step that is no test suite counts as one test where it fails. */
function must(title: string, ok: boolean): void {
  if (ok) return;
  total.failed++;
  console.error(`FAILED: ${title}`);
}

interface VitestReport {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}
interface PlaywrightReport {
  readonly stats: {
    readonly expected: number;
    readonly unexpected: number;
    readonly flaky: number;
    readonly skipped: number;
  };
}
const report = <T>(file: string): T | undefined =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T) : undefined;

function unitTests(): void {
  const file = join(cache, 'vitest.json');
  rmSync(file, { force: true });
  const ok = run('Unit tests and numerics', 'node_modules/.bin/vitest', [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ]);
  const result = report<VitestReport>(file);
  if (!result) return must('the unit tests gave no report', false);
  total.passed += result.numPassedTests;
  total.skipped += result.numPendingTests + result.numTodoTests;
  // A file that could not be loaded has no tests to count.
  const broken = result.testResults.filter(
    (entry) => entry.status === 'failed' && entry.assertionResults.every((test) => test.status !== 'failed'),
  ).length;
  total.failed += result.numFailedTests + broken;
  for (const entry of result.testResults)
    for (const test of entry.assertionResults)
      if (['skipped', 'pending', 'todo'].includes(test.status)) skips.push(test.fullName);
  if (!ok && result.numFailedTests + broken === 0) must('the unit tests ended with an error', false);
}

function browserTests(): void {
  if (!found.chromium) {
    if (process.env.CI) return must('chromium is missing', false);
    total.skipped++;
    skips.push(
      'The workbench in a browser: chromium is not installed (apt-get install chromium, or set FETTLE_CHROMIUM).',
    );
    return;
  }
  const file = join(cache, 'playwright.json');
  rmSync(file, { force: true });
  const ok = run('The workbench in a browser', 'node_modules/.bin/playwright', ['test', '--reporter=list,json'], {
    PLAYWRIGHT_JSON_OUTPUT_NAME: file,
  });
  const stats = report<PlaywrightReport>(file)?.stats;
  if (!stats) return must('the browser tests gave no report', false);
  total.passed += stats.expected + stats.flaky;
  total.failed += stats.unexpected;
  total.skipped += stats.skipped;
  if (stats.skipped > 0) skips.push(`${stats.skipped} in the browser tests (their reasons stand above)`);
  if (!ok && stats.unexpected === 0) must('the browser tests ended with an error', false);
}

must('npm run check', run('Types, lint, layers, format, dead code', process.execPath, ['scripts/check.ts']));
must(
  'building the workbench',
  run('Building the workbench', 'node_modules/.bin/vite', ['build', '--logLevel', 'warn']),
);
if (!found.starter) {
  // Where it cannot be had, the tests that need it say so.
  run('Fetching the starter model', process.execPath, ['main/cli/main.ts', 'model', 'starter', '--home', home]);
}
unitTests();
browserTests();

if (skips.length > 0) console.log(`\nSkipped:\n${skips.map((skip) => `  ${skip}`).join('\n')}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
