/** @file The path of a project: which step comes next, and what each says of itself. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createApp } from '../hosts/app.ts';
import { derivePath, type PathFacts } from './path.ts';
import { freeSlug, slugify } from './index.ts';

const empty: PathFacts = {
  answers: 0,
  questions: 7,
  choice: null,
  pairs: 0,
  documents: 0,
  model: null,
  runs: 0,
  finishedRuns: 0,
  running: null,
  comparisons: 0,
  exports: 0,
};
const states = (facts: Partial<PathFacts>): string =>
  derivePath({ ...empty, ...facts })
    .path.map((step) => step.state)
    .join(' ');

describe('the path of a project', () => {
  it('starts with the data', () => {
    expect(states({})).toBe('open current open open open open');
    expect(derivePath(empty).next).toContain('Bring');
  });
  it('leads on step by step, and shows what runs', () => {
    expect(states({ pairs: 3 })).toBe('current done open open open open');
    expect(states({ pairs: 3, choice: 'instruct', model: 'M' })).toBe('done done done current open open');
    expect(states({ pairs: 3, choice: 'instruct', model: 'M', runs: 1, running: { number: 1, share: 0.5 } })).toBe(
      'done done done running open open',
    );
    expect(
      states({ pairs: 3, choice: 'instruct', model: 'M', runs: 1, finishedRuns: 1, comparisons: 1, exports: 1 }),
    ).toBe('done done done done done done');
  });
  it('names the way that was chosen', () => {
    const note = (choice: PathFacts['choice']): string => derivePath({ ...empty, choice }).path[0]!.note;
    expect(note('staged')).toBe('Both, in stages');
    expect(note('non-instruct')).toBe('Non-instruct tuning');
  });
  it('says how much there is, one and many', () => {
    const note = (facts: Partial<PathFacts>): string => derivePath({ ...empty, ...facts }).path[1]!.note;
    expect(note({ pairs: 1186, documents: 1 })).toBe('1,186 pairs, 1 document');
  });
});

it('an export counts once its proof held', async () => {
  const home = mkdtempSync(join(tmpdir(), 'fettle-path-'));
  const app = createApp({ home, kind: 'command', threads: 1 });
  try {
    const { db } = app.core;
    await app.client.call('projects.create', { name: 'Shop' });
    db.exec(`
      INSERT INTO run (id, project, number, model, model_name, model_hash, dataset, dataset_name, dataset_hash, strategy, recipe, versions, created_at)
      VALUES ('shop-1', 'shop', 1, 'm', 'm', 'h', 'd', 'd', 'h', 'instruct', '{}', '{}', '');
      INSERT INTO export (id, project, run, checkpoint, format, dtype, folder, result, created_at)
      VALUES ('shop-export-1', 'shop', 'shop-1', 'c', 'gguf', 'f16', '/x', '{"failed":true,"proof":{}}', '')`);
    const last = async (): Promise<string> =>
      (await app.client.call('projects.show', { project: 'shop' })).path.at(-1)!.state;
    expect(await last()).not.toBe('done');
    db.prepare('UPDATE export SET result = ?').run('{"files":[]}');
    expect(await last()).toBe('done');
  } finally {
    await app.close();
    rmSync(home, { recursive: true, force: true });
  }
});

describe('slugs', () => {
  it('are safe in paths, whatever the name', () => {
    expect(slugify('Überweisungs-Briefe (neu)')).toBe('uberweisungs-briefe-neu');
    expect(slugify('../../etc/passwd')).toBe('etc-passwd');
    expect(slugify('日本')).toBe('project');
  });
  it('are made unique', () => expect(freeSlug('A', (slug) => ['a', 'a-2'].includes(slug))).toBe('a-3'));
});
