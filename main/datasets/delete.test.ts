/** @file A version that is deleted while it is still being looked through. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Dataset, Job } from '../contract/entities.ts';
import { createApp } from '../hosts/app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-delete-'));
const home = join(folder, 'home');
const app = createApp({ home, kind: 'command', threads: 1 });
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

it('goes with all that is still done about it, and nothing is left of it', async () => {
  const { client, core } = app;
  await client.call('projects.create', { name: 'Shop' });
  const path = join(folder, 'pairs.jsonl');
  // At another moment of looking through each time.
  for (let round = 0; round < 6; round++) {
    const rows = Array.from({ length: 400 }, (_, i) => ({ question: `Lamp ${round}.${i}?`, answer: `Shade ${i}.` }));
    writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
    const brought = await client.call('datasets.import', { project: 'shop', paths: [path] });
    await core.jobs.settled(brought.id);
    const { id } = (await client.call('datasets.list', { project: 'shop' }))[0]!;
    expect(core.jobs.of('inspect', `shop/${id}`)?.finishedAt).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 120 * round));
    await client.call('datasets.delete', { project: 'shop', dataset: id });
    expect(['cancelled', 'completed']).toContain(core.jobs.of('inspect', `shop/${id}`)!.state);
    expect(existsSync(join(home, 'projects/shop/datasets', id))).toBe(false);
  }
  expect(readdirSync(join(home, 'projects/shop/datasets'))).toEqual([]);
});

it('while the same content comes in again leaves a version with its rows, or none', async () => {
  const { client, core } = app;
  const path = join(folder, 'again.jsonl');
  const rows = Array.from({ length: 400 }, (_, i) => ({ question: `Chair ${i}?`, answer: `Leg ${i}.` }));
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  const bring = (): Promise<Job> => client.call('datasets.import', { project: 'shop', paths: [path] });
  await core.jobs.settled((await bring()).id);
  const [{ id }] = (await client.call('datasets.list', { project: 'shop' })) as [Dataset];
  const began = performance.now();
  await core.jobs.settled((await bring()).id);
  const takes = performance.now() - began;
  const kept = (): boolean => existsSync(join(home, 'projects/shop/datasets', id, 'rows.jsonl'));
  const listed = async (): Promise<boolean> => (await client.call('datasets.list', { project: 'shop' })).length > 0;
  // Around its end, where it finds that the version is there already.
  for (const share of [0.85, 1, 1.05]) {
    const { id: job } = await bring();
    await new Promise((resolve) => setTimeout(resolve, share * takes));
    await client.call('datasets.delete', { project: 'shop', dataset: id });
    await core.jobs.settled(job);
    expect(await listed()).toBe(kept());
    if (!kept()) await core.jobs.settled((await bring()).id);
  }
  await client.call('datasets.delete', { project: 'shop', dataset: id });
  expect(readdirSync(join(home, 'projects/shop/datasets'))).toEqual([]);
});

it('never comes to be without its rows, when they went while the rest was brought in', async () => {
  const { client, core } = app;
  const path = join(folder, 'gone.jsonl');
  writeFileSync(path, Array.from({ length: 40 }, (_, i) => `{"question":"Why ${i}?","answer":"So ${i}."}`).join('\n'));
  const { id } = await client.call('datasets.import', { project: 'shop', paths: [path] });
  await core.jobs.settled(id);
  const [{ id: version }] = (await client.call('datasets.list', { project: 'shop' })) as [Dataset];
  await core.jobs.settled(core.jobs.of('inspect', `shop/${version}`)!.id);
  // As a deletion that came between finding it and writing it down.
  core.db.prepare('DELETE FROM dataset WHERE id = ?').run(version);
  const again = await client.call('datasets.import', { project: 'shop', paths: [path] });
  const stop = client.subscribe('jobs', 0, (_, { job }) => {
    if (job.id === again.id && job.stage !== '')
      rmSync(join(home, 'projects/shop/datasets', version, 'rows.jsonl'), { force: true });
  });
  expect((await core.jobs.settled(again.id)).error).toMatchObject({ code: 'INTERRUPTED' });
  stop();
  expect(await client.call('datasets.list', { project: 'shop' })).toEqual([]);
});
