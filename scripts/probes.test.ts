/** @file The general probe suite: whole, balanced, right where a machine can tell, and of no source that is rehearsed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { probesFolder, readProbes, type Probe, type ProbeSuite } from '../main/evaluation/probes.ts';

const resources = join(import.meta.dirname, '..', 'resources');
let suite: ProbeSuite;
let probes: Probe[];
beforeAll(async () => {
  suite = await readProbes(probesFolder());
  probes = suite.skills.flatMap((skill) => [...skill.probes]);
});

const sequences = (text: string, length: number): string[] => {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.slice(length - 1).map((_, i) => words.slice(i, i + length).join(' '));
};
const othersIn = (folder: string): string =>
  readdirSync(join(resources, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n\n');

describe('the probe suite', () => {
  it('changes only with a new version', () => {
    const manifest = JSON.parse(readFileSync(join(probesFolder(), 'suite.json'), 'utf8')) as { sha256: string };
    expect(manifest.sha256, 'an item or a text changed: raise the version in suite.json and write the new hash').toBe(
      suite.sha256,
    );
  });

  it('has at least 400 items over ten skills, each with its own name and prompt', () => {
    expect(probes.length).toBeGreaterThanOrEqual(400);
    expect(suite.skills.length).toBeGreaterThanOrEqual(10);
    for (const { skill, probes: of } of suite.skills) {
      expect(of.length, skill).toBeGreaterThanOrEqual(30);
      for (const probe of of) expect(probe.skill).toBe(skill);
    }
    expect(new Set(probes.map(({ id }) => id)).size).toBe(probes.length);
    expect(new Set(probes.map(({ prompt }) => prompt)).size).toBe(probes.length);
    expect(suite.prose.length).toBeGreaterThanOrEqual(6);
  });

  it('has the right choice at each place equally often, and the choices of an item differ', () => {
    for (const { skill, probes: of } of suite.skills) {
      const places = [0, 0, 0, 0];
      for (const probe of of) {
        if (probe.kind !== 'choice') continue;
        expect(probe.answer, probe.id).toBeLessThan(probe.choices.length);
        expect(new Set(probe.choices).size, probe.id).toBe(probe.choices.length);
        places[probe.answer]!++;
      }
      expect([skill, Math.max(...places) <= 0.4 * of.length || of[0]!.kind === 'generate']).toEqual([skill, true]);
    }
  });

  it('calculates correctly wherever it shows a sum', () => {
    let sums = 0;
    for (const probe of probes) {
      const [, a, sign, b] = /^(\d+) ([+x/-]) (\d+) =$/.exec(probe.prompt) ?? [];
      if (!sign || probe.kind !== 'choice') continue;
      const [left, right] = [Number(a), Number(b)];
      const worked = { '+': left + right, '-': left - right, x: left * right, '/': left / right }[sign];
      expect([probe.prompt, Number(probe.choices[probe.answer])]).toEqual([probe.prompt, worked]);
      sums++;
    }
    expect(sums).toBeGreaterThan(8);
  });

  it('shares no eight words in a row with what is rehearsed or what pilots measure on', () => {
    const known = new Set(sequences(`${othersIn('rehearsal')}\n${othersIn('general')}\n${othersIn('sample')}`, 8));
    for (const text of [
      ...suite.prose.map((each) => each.text),
      ...probes.map(
        (probe) => `${probe.prompt} ${probe.kind === 'choice' ? probe.choices[probe.answer] : probe.answer}`,
      ),
    ])
      for (const sequence of sequences(text, 8)) expect(known.has(sequence), sequence).toBe(false);
  });
});
