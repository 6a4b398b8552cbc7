/** @file Pilots on a tiny model: the same budget, the same text, the same answer twice; and the verdict in words, from figures made up. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { TINY_CONFIGS, writeRandomModel } from '../../test/fixtures/tiny-configs.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { LearningCurve, Measured, Pilot } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';
import { verdictInWords } from './verdict.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-pilot-'));
let app: App;
const bring = async (project: string, path: string): Promise<void> => {
  await app.core.jobs.settled((await app.client.call('datasets.import', { project, paths: [path] })).id);
};
const pilot = async (project: string, tokens = 3000, model = 'tiny'): Promise<Pilot> => {
  const { id } = await app.client.call('pilots.start', { project, model, tokens });
  await app.core.jobs.settled(app.core.jobs.of('pilot', id)!.id);
  return app.client.call('pilots.show', { pilot: id });
};

beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  for (const name of ['Both', 'Prose', 'None']) await client.call('projects.create', { name });
  await app.core.jobs.settled(
    (await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' })).id,
  );
  const book = join(folder, 'book');
  mkdirSync(book);
  for (let i = 0; i < 8; i++)
    writeFileSync(
      join(book, `${i}.md`),
      Array.from({ length: 40 }, (_, k) => `In part ${i}, line ${k}, the wheel is trued.`).join('\n\n'),
    );
  await bring('both', book);
  await bring('both', await writeExamples(folder));
  await bring('prose', book);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a pilot', () => {
  it('tries three ways on one budget and measures them on the same labelled tokens; twice the same', async () => {
    const { result, error } = await pilot('both');
    expect(error).toBeNull();
    expect(result?.sets.map(({ id }) => id)).toEqual(['goal', 'field', 'other']);
    expect(result?.arms.map(({ way }) => way)).toEqual(['base', 'instruct', 'non-instruct', 'staged']);
    for (const { way, tokens, differences } of result!.arms.slice(1)) {
      expect([way, Math.abs(tokens - 3000) < 800]).toEqual([way, true]);
      expect(differences.every((difference) => difference !== null)).toBe(true);
    }
    expect((await pilot('both')).result).toEqual(result);
    // Nothing of what was tried is kept.
    expect(readdirSync(join(folder, 'home/temporary'))).toEqual([]);
  });

  it('takes the field as the goal where there are no examples, and says so where there is nothing', async () => {
    const { result } = await pilot('prose', 1500);
    expect(result?.sets.map(({ id }) => id)).toEqual(['goal', 'other']);
    expect(result?.arms.map(({ way }) => way)).toEqual(['base', 'non-instruct']);
    await expect(app.client.call('pilots.start', { project: 'none', model: 'tiny' })).rejects.toMatchObject({
      code: 'DATA_EMPTY',
    });
  });

  it('reads no more at once than the model has positions for', async () => {
    const path = await writeRandomModel(join(folder, 'short'), { ...TINY_CONFIGS['gpt2'], n_positions: 128 });
    await app.core.jobs.settled((await app.client.call('models.add', { path, name: 'short' })).id);
    const { result, error } = await pilot('prose', 1500, 'short');
    expect(error).toBeNull();
    expect(result?.arms.map(({ way }) => way)).toEqual(['base', 'non-instruct']);
  });

  it('is cancelled without a trace', async () => {
    const { id } = await app.client.call('pilots.start', { project: 'both', model: 'tiny', tokens: 400_000 });
    const job = app.core.jobs.of('pilot', id)!;
    await new Promise((resolve) => setTimeout(resolve, 2500));
    app.core.jobs.ask(job.id, 'cancel');
    expect((await app.core.jobs.settled(job.id)).state).toBe('cancelled');
    expect(readdirSync(join(folder, 'home/temporary'))).toEqual([]);
  });
});

describe('a learning curve', () => {
  const curve = async (project: string, more: { dataset?: string; tokens?: number } = {}): Promise<LearningCurve> => {
    const { id } = await app.client.call('curves.start', { project, model: 'tiny', tokens: 3000, ...more });
    await app.core.jobs.settled(app.core.jobs.of('curve', id)!.id);
    return app.client.call('curves.show', { curve: id });
  };

  it('trains on parts that are within each other, each on the same tokens, and forecasts; twice the same', async () => {
    const { result, error } = await curve('both');
    expect(error).toBeNull();
    expect(result?.strategy).toBe('instruct');
    expect(result?.points.map(({ losses }) => losses.length)).toEqual([2, 2, 1]);
    const [quarter, half, all] = result!.points.map(({ rows }) => rows) as [number, number, number];
    expect(Math.abs(4 * quarter - all)).toBeLessThanOrEqual(4);
    expect(Math.abs(2 * half - all)).toBeLessThanOrEqual(2);
    expect(all).toBeLessThanOrEqual(result!.all.rows);
    expect(result?.forecast.map(({ rows }) => rows)).toEqual([all, 2 * all]);
    expect((await curve('both')).result).toEqual(result);
    expect(readdirSync(join(folder, 'home/temporary'))).toEqual([]);
  });

  it('takes text in pieces, and refuses too few', async () => {
    const { result } = await curve('prose', { tokens: 6000 });
    expect(result?.strategy).toBe('non-instruct');
    await app.client.call('projects.create', { name: 'Few' });
    const few = join(folder, 'few.jsonl');
    writeFileSync(few, '{"question":"a b c?","answer":"d e f"}\n{"question":"g h?","answer":"i j k"}\n');
    await bring('few', few);
    expect((await curve('few')).error).toMatchObject({ code: 'DATA_EMPTY' });
  });
});

describe('the verdict', () => {
  const about = (value: number, off = 0.05): Measured => ({ value, low: value - off, high: value + off });
  const arm = (
    way: 'instruct' | 'non-instruct',
    goal: Measured,
    other: Measured,
  ): NonNullable<Pilot['result']>['arms'][number] => ({
    way,
    tokens: 1000,
    steps: 2,
    losses: [about(1), about(3)],
    differences: [goal, other],
  });

  it('names a way only where the margins leave no doubt', () => {
    const arms = [arm('instruct', about(-0.5), about(0.2)), arm('non-instruct', about(-0.1), about(0))];
    expect(verdictInWords(arms, 'instruct', 'non-instruct', about(-0.4))).toMatchObject({
      best: 'instruct',
      sentence: expect.stringContaining('On other text it got worse by +0.200') as unknown,
    });
    expect(verdictInWords(arms, 'instruct', 'non-instruct', about(-0.01))).toMatchObject({
      best: null,
      sentence: expect.stringContaining('No difference that we can measure') as unknown,
    });
    const weak = [arm('instruct', about(-0.02), about(0))];
    expect(verdictInWords(weak, 'instruct', undefined, null)).toMatchObject({
      best: null,
      sentence: expect.stringContaining('no way made the model measurably better') as unknown,
    });
  });
});
