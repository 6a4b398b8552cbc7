/** @file What a run answered is kept whole or not at all, believed only as it was written, and does not grow without end. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { answersOf } from '../runs/folders.ts';
import { forgetOldest, keepAnswers, readKept, type KeptAnswers } from './kept-answers.ts';

const projects = mkdtempSync(join(tmpdir(), 'fettle-kept-'));
afterAll(() => rmSync(projects, { recursive: true, force: true }));

const folderOf = (run: string): string => {
  const folder = join(projects, 'shop', 'runs', run);
  mkdirSync(folder, { recursive: true });
  return answersOf(folder);
};
const answers: KeptAnswers = {
  askedAt: '2026-11-27T04:00:00.000Z',
  replays: [
    { ids: [1, 2], logits: [Float32Array.of(0.1, -2, 3), Float32Array.of(1e-30, 5, -0)] },
    { ids: [], logits: [] },
    { ids: [0], logits: [Float32Array.of(7, 8, 9)] },
  ],
  likelihood: { rows: 2, tokens: 5, loss: 0.1 + 0.2 },
  rows: [
    { sum: 1 / 3, count: 2 },
    { sum: 2 / 3, count: 3 },
  ],
};

it('they come back bit for bit, under their key alone', async () => {
  const folder = folderOf('shop-1');
  expect(await readKept(folder, 'one')).toBeNull();
  await keepAnswers(folder, 'one', answers);
  expect(await readKept(folder, 'one')).toEqual(answers);
  expect(await readKept(folder, 'two')).toBeNull();
  // Answers without a token.
  const silent = { ...answers, replays: [] };
  await keepAnswers(folder, 'two', silent);
  expect(await readKept(folder, 'two')).toEqual(silent);
  expect(readdirSync(folder).sort()).toEqual(['one.answers', 'two.answers']);
});

it('they are not believed where a bit has changed, the end is missing, or another version has written them', async () => {
  const folder = folderOf('shop-2');
  const path = join(folder, 'one.answers');
  await keepAnswers(folder, 'one', answers);
  const whole = readFileSync(path);
  const { length } = whole;
  for (const at of [0, 70, 90, length - 1]) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    writeFileSync(path, changed);
    expect([at, await readKept(folder, 'one')]).toEqual([at, null]);
  }
  for (const end of [length - 4, 64, 10, 0]) {
    writeFileSync(path, whole);
    truncateSync(path, end);
    expect([end, await readKept(folder, 'one')]).toEqual([end, null]);
  }
  writeFileSync(path, whole);
  expect(await readKept(folder, 'one')).toEqual(answers);
});

it('those that cannot be written are left out, and nothing is said', async () => {
  const folder = join(projects, 'nowhere', 'runs', 'x', 'y');
  await keepAnswers(folder, 'one', answers);
  expect(await readKept(folder, 'one')).toBeNull();
});

it('the oldest of a home go, and pieces of those that were never whole', async () => {
  rmSync(join(projects, 'shop'), { recursive: true, force: true });
  const runs = ['shop-1', 'shop-2', 'shop-3'];
  for (const [i, run] of runs.entries()) {
    await keepAnswers(folderOf(run), 'key', answers);
    utimesSync(join(folderOf(run), 'key.answers'), i + 1, i + 1);
  }
  writeFileSync(join(folderOf('shop-3'), 'other.answers.part'), '');
  const { length } = readFileSync(join(folderOf('shop-1'), 'key.answers'));
  await forgetOldest(projects, 2 * length);
  expect(runs.map((run) => readdirSync(folderOf(run)))).toEqual([[], ['key.answers'], ['key.answers']]);
});
