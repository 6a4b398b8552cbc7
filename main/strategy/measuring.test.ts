/** @file Measuring a model before tuning, with a whole (tiny) model in a child process: what is kept, for which data, and that the guide can be left and resumed. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { TINY_CONFIGS, writeRandomModel } from '../../test/fixtures/tiny-configs.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Advice, Job } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-measuring-'));
const home = join(folder, 'home');
const open = (): App => createApp({ home, kind: 'command', threads: 1 });
let app: App;
const done = async (job: Job): Promise<Job> => app.core.jobs.settled(job.id);
const bring = async (path: string): Promise<Job> =>
  done(await app.client.call('datasets.import', { project: 'shop', paths: [path] }));
const advice = (): Promise<Advice> => app.client.call('strategy.advise', { project: 'shop', model: 'tiny' });
const measure = async (model = 'tiny'): Promise<Job> =>
  done(await app.client.call('strategy.measure', { project: 'shop', model }));

beforeAll(async () => {
  app = open();
  await app.client.call('projects.create', { name: 'Shop' });
  await done(await app.client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' }));
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

it('needs something held out, and says so', async () => {
  await expect(app.client.call('strategy.measure', { project: 'shop' })).rejects.toMatchObject({
    code: 'INPUT_INVALID',
  });
  await expect(measure()).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
});

it('asks the model unseen questions, and the advice shows what came of it', async () => {
  await bring(await writeExamples(folder));
  expect((await advice()).provisional).toContain('not measured yet');
  expect(await measure()).toMatchObject({ state: 'completed', error: null });
  const { measured, measuredProse, provisional, strategy, axes } = await advice();
  expect(measured?.answers).toHaveLength(16);
  expect(measured?.rows).toBeGreaterThanOrEqual(16);
  // A model of random weights: worse than even over 259 tokens, and it says nothing of the kind.
  expect(measured?.loss.value).toBeGreaterThan(4);
  expect(measured?.f1?.value).toBeLessThan(0.2);
  expect([measuredProse, provisional, strategy]).toEqual([null, null, 'instruct']);
  expect(axes.flatMap((axis) => axis.evidence.map(({ label }) => label)).join()).toContain('16 asked');
});

it('measures new prose alone, and keeps what it knows of the examples', async () => {
  const book = join(folder, 'book');
  mkdirSync(book);
  for (let i = 0; i < 12; i++)
    writeFileSync(
      join(book, `${i}.md`),
      Array.from({ length: 12 }, (_, k) => `Part ${i}, line ${k * 7}: the bell of wheel ${k * i} is oiled.`).join(
        '\n\n',
      ),
    );
  const before = (await advice()).measured;
  await bring(book);
  expect(await measure()).toMatchObject({ state: 'completed', error: null });
  const after = await advice();
  expect(after.measured).toEqual(before);
  expect(after.measuredProse?.loss.value).toBeGreaterThan(4);
  expect(after.measuredProse?.tokens).toBeGreaterThan(100);
  expect(after.axes[2]?.evidence.map(({ label }) => label).join()).toContain('Prose that repeats');
});

it('reads no more of a row than the model has positions for', async () => {
  const path = await writeRandomModel(join(folder, 'short'), { ...TINY_CONFIGS['gpt2'], n_positions: 192 });
  await done(await app.client.call('models.add', { path, name: 'short' }));
  expect(await measure('short')).toMatchObject({ state: 'completed', error: null });
});

it('answers and measurements outlive the host: the guide goes on where it was left', async () => {
  await app.client.call('strategy.answer', { project: 'shop', answers: { task: 'one-job', check: 'yes' } });
  const before = await advice();
  await app.close();
  app = open();
  expect(await app.client.call('strategy.answers', { project: 'shop' })).toEqual({ task: 'one-job', check: 'yes' });
  expect(await advice()).toEqual(before);
});
