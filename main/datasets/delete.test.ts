/** @file A version that is deleted while it is still being looked through. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
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
