/** @file The time of a run, measured before it on a tiny model: that it is used, what it hangs on, what is left of it. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Estimate, Job } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-calibrate-'));
let app: App;
const SET = { maxLength: 128, batchSize: 2, rank: 4, evalEvery: 30, device: 'cpu', packing: false, epochs: 3 };
const request = (set: object = {}): { project: string; model: string; set: Record<string, unknown> } => ({
  project: 'shop',
  model: 'tiny',
  set: { ...SET, ...set },
});
const estimated = async (set: object = {}): Promise<Estimate> =>
  (await app.client.call('runs.plan', request(set))).estimate;
const settled = ({ id }: Job): Promise<Job> => app.core.jobs.settled(id);
const rows = (): number => app.core.db.prepare<[], { n: number }>('SELECT count(*) AS n FROM calibration').get()!.n;

beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop' });
  await settled(await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' }));
  await settled(await client.call('datasets.import', { project: 'shop', paths: [await writeExamples(folder)] }));
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a calibration', { timeout: 120_000 }, () => {
  it('that is cancelled leaves nothing', async () => {
    const job = await app.client.call('runs.calibrate', request());
    await new Promise<void>((resolve) => {
      const stop = app.core.events.subscribe('jobs', 0, (_, event) => {
        if (event.job.id !== job.id || event.job.state !== 'running') return;
        setTimeout(stop);
        resolve();
      });
    });
    await expect(app.client.call('models.delete', { model: 'tiny' })).rejects.toMatchObject({ code: 'MODEL_IN_USE' });
    await app.client.call('jobs.cancel', { job: job.id });
    expect((await settled(job)).state).toBe('cancelled');
    expect(rows()).toBe(0);
    expect(readdirSync(join(folder, 'home/temporary'))).toEqual([]);
    expect(await estimated()).toMatchObject({ seconds: null, secondsFrom: null });
  });

  it('tells the time of what it measured, and of nothing else', async () => {
    expect(await settled(await app.client.call('runs.calibrate', request()))).toMatchObject({
      state: 'completed',
      error: null,
    });
    const found = await estimated();
    expect(found.secondsFrom).toBe('calibration');
    expect(found.seconds).toBeGreaterThan(0);
    expect(found.secondsWhy).toMatch(/^Measured here on \d+ steps of this very recipe\.$/);
    // The times of what is learned, how well and for how long are the same; those of what it is done with are not.
    const longer = await estimated({ epochs: 6, learningRate: 0.003, seed: 7 });
    expect(longer.secondsFrom).toBe('calibration');
    expect(longer.steps).toBe(2 * found.steps);
    expect(longer.seconds).toBeGreaterThan(found.seconds!);
    for (const set of [{ maxLength: 64 }, { rank: 8 }, { precision: 'int8' }, { activationCheckpointing: true }])
      expect([set, await estimated(set)]).toMatchObject([set, { seconds: null, secondsFrom: null }]);
    expect(readdirSync(join(folder, 'home/temporary'))).toEqual([]);
    expect(readdirSync(join(folder, 'home/projects/shop'))).not.toContain('runs');
    expect(await app.client.call('runs.list', { project: 'shop' })).toEqual([]);
  });

  it('knows the steps and tokens of the run that it was about, and takes the place of the one before', async () => {
    expect((await settled(await app.client.call('runs.calibrate', request()))).state).toBe('completed');
    expect(rows()).toBe(1);
    const { steps, tokensPerStep } = await estimated({ epochs: 1 });
    const run = await app.client.call('runs.start', { ...request({ epochs: 1 }) });
    await settled(app.core.jobs.of('train', run.id)!);
    const ended = await app.client.call('runs.show', { run: run.id });
    expect(ended).toMatchObject({ state: 'completed', step: steps });
    expect(Math.abs(ended.tokens / steps / tokensPerStep - 1)).toBeLessThan(0.01);
    // By then an earlier run tells the time of what was not calibrated, where it was on the same device.
    expect(await estimated({ rank: 8 })).toMatchObject({
      secondsFrom: 'run',
      secondsWhy: `As fast as run ${run.id} went.`,
    });
    expect(await estimated({ rank: 8, device: 'webgpu' })).toMatchObject({ secondsFrom: null });
  });
});
