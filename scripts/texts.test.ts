/** @file Fettle's own texts: what is rehearsed is correct and varied, and what measures forgetting was never rehearsed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const resources = join(import.meta.dirname, '..', 'resources');
const textsIn = (folder: string): string[] =>
  readdirSync(join(resources, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => readFileSync(join(resources, folder, name), 'utf8'));
interface Row {
  readonly instruction: string;
  readonly response: string;
  readonly skill: string;
}
const rows = readFileSync(join(resources, 'rehearsal/instructions.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Row);
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const sequences = (text: string, length: number): string[] => {
  const words = wordsOf(text);
  return words.slice(length - 1).map((_, i) => words.slice(i, i + length).join(' '));
};
const counted = (keys: readonly string[]): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
};

describe('rehearsal', () => {
  it('has some 240 different instructions over many skills, answered in 5 to 80 words', () => {
    expect(rows.length).toBeGreaterThanOrEqual(240);
    expect(new Set(rows.map((row) => row.instruction)).size).toBe(rows.length);
    expect(new Set(rows.map((row) => row.skill)).size).toBeGreaterThanOrEqual(15);
    for (const { response } of rows) {
      const words = response.split(/\s+/).length;
      expect(words, response).toBeGreaterThanOrEqual(5);
      expect(words, response).toBeLessThanOrEqual(80);
    }
  });

  it('puts no more than three instructions, or answers, the same way', () => {
    for (const key of ['instruction', 'response'] as const)
      for (const [opening, times] of counted(rows.map((row) => wordsOf(row[key]).slice(0, 3).join(' '))))
        expect(times, opening).toBeLessThanOrEqual(3);
  });

  it('calculates correctly wherever it shows a sum', () => {
    const sums = rows.flatMap(({ response }) => [
      ...response.matchAll(/(\d+(?:\.\d+)?(?: [+−×÷] \d+(?:\.\d+)?)+) = (\d+(?:\.\d+)?)/g),
    ]);
    expect(sums.length).toBeGreaterThan(30);
    for (const [sum, left = '', right] of sums) expect(worked(left), sum).toBeCloseTo(Number(right), 9);
  });
});

/** Of one kind of sign only, so that there is no question of what comes first. */
function worked(sum: string): number {
  const parts = sum.split(' ');
  const signs = new Set(parts.filter((_, i) => i % 2 === 1));
  expect(signs.size, sum).toBe(1);
  return parts
    .filter((_, i) => i % 2 === 0)
    .map(Number)
    .reduce((a, b) => (signs.has('+') ? a + b : signs.has('−') ? a - b : signs.has('×') ? a * b : a / b));
}

it('the texts that measure forgetting share no run of eight words with what is rehearsed', () => {
  const general = textsIn('general');
  const prose = textsIn('rehearsal/prose');
  expect([general.length, prose.length]).toEqual([5, 6]);
  const rehearsed = new Set(
    [...prose, ...rows.flatMap((row) => [row.instruction, row.response])].flatMap((text) => sequences(text, 8)),
  );
  expect(general.flatMap((text) => sequences(text, 8)).filter((words) => rehearsed.has(words))).toEqual([]);
});
