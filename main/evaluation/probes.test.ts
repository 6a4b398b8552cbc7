/** @file A damaged or newer probe suite is refused in words, not with what a parser says. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readProbes } from './probes.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-probes-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'prose'));
const put = (name: string, content: string): void => writeFileSync(join(folder, name), content);
const WHOLE = JSON.stringify({ format: 1, version: 3, sha256: '' });

it.each([
  ['{"format": 1', 'FORMAT_INVALID', 'suite.json is no JSON'],
  ['{"version": 3}', 'FORMAT_INVALID', 'suite.json does not hold what it must (format:'],
  ['{"format": 1, "version": "three"}', 'FORMAT_INVALID', 'suite.json does not hold what it must (version:'],
  ['{"format": 2, "another": true}', 'SUITE_NEWER', 'newer Fettle (form 2; this one reads 1)'],
])('%s: %s', async (manifest, code, words) => {
  put('suite.json', manifest);
  await expect(readProbes(folder)).rejects.toMatchObject({ code, message: expect.stringContaining(words) as string });
});

it('a damaged item is named by its file and line', async () => {
  put('suite.json', WHOLE);
  const probe = { id: 'a', skill: 'sums', prompt: '1 + 1 is', kind: 'choice', choices: ['2', '3'], answer: 0 };
  put('sums.jsonl', `${JSON.stringify(probe)}\n${JSON.stringify({ ...probe, choices: ['2'] })}\n`);
  await expect(readProbes(folder)).rejects.toMatchObject({
    code: 'FORMAT_INVALID',
    message: expect.stringContaining('line 2 of sums.jsonl') as string,
  });
  put('sums.jsonl', `${JSON.stringify(probe)}\n`);
  expect(await readProbes(folder)).toMatchObject({ version: 3, skills: [{ skill: 'sums' }], prose: [] });
});
