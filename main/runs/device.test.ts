/** @file Runs on a graphics processor, as far as SwiftShader is one: what is chosen and told, that both devices learn the same, and what is left when it fails. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { found, need } from '../../test/support/needs.ts';
import type { Run } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-device-'));
let app: App;
const set = {
  maxSteps: 4,
  evalEvery: 4,
  saveEvery: 2,
  maxLength: 64,
  batchSize: 2,
  learningRate: 0.02,
  rank: 4,
  alpha: 8,
};

const start = (given: object): Promise<Run> =>
  app.client.call('runs.start', { project: 'shop', model: 'tiny', set: { ...set, ...given } });
async function settled({ id }: Run): Promise<Run> {
  await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
  return app.client.call('runs.show', { run: id });
}
const finished = async (given: object): Promise<Run> => settled(await start(given));

beforeAll(async () => {
  if (found.swiftshader !== undefined) process.env['VK_ICD_FILENAMES'] = found.swiftshader;
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop' });
  const added = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' });
  await app.core.jobs.settled(added.id);
  const paths = [await writeExamples(folder)];
  await app.core.jobs.settled((await client.call('datasets.import', { project: 'shop', paths })).id);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

// Most of the time it compiles shaders, on cores that may have other work.
describe('a run', { timeout: 300_000 }, () => {
  it('is trained where the recipe says, and learns the same there', async (test) => {
    need(test, 'swiftshader', found.swiftshader);
    const [there, here] = [await finished({ device: 'webgpu' }), await finished({ device: 'cpu' })];
    expect(there).toMatchObject({ state: 'completed', error: null, device: { device: 'webgpu' } });
    expect(there.device?.name).toMatch(/SwiftShader/);
    expect(here.device?.device).toBe('cpu');
    expect(here.heldOutLoss).toBeLessThan(here.heldOutLossStart! - 0.05);
    expect(Math.abs(there.heldOutLoss! - here.heldOutLoss!)).toBeLessThan(1e-3);
    expect(there.checkpoints.map(({ name }) => name)).toEqual(here.checkpoints.map(({ name }) => name));
  });

  it('is left to the processor where the graphics processor is none, and says so', async (test) => {
    need(test, 'swiftshader', found.swiftshader);
    const run = await finished({ device: 'auto' });
    expect(run.device).toMatchObject({ device: 'cpu', why: expect.stringContaining('SwiftShader') as unknown });
  });

  it('is refused where it asks for what the graphics processor cannot do', async (test) => {
    need(test, 'swiftshader', found.swiftshader);
    for (const set of [{ useDora: true }, { precision: 'fp16' }])
      expect(await finished({ device: 'webgpu', ...set })).toMatchObject({
        state: 'failed',
        error: { code: 'RECIPE_INVALID' },
      });
  });

  it('whose driver dies has failed with its checkpoint and a way out, and the host goes on', async (test) => {
    need(test, 'swiftshader', found.swiftshader);
    const run = await start({ device: 'webgpu', maxSteps: 10_000, evalEvery: 0 });
    await new Promise<void>((resolve) => {
      const stop = app.core.events.subscribe(`run:${run.id}`, 0, (_, event) => {
        if (event.type !== 'checkpoint') return;
        setTimeout(stop);
        resolve();
      });
    });
    const [pid] = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'workers/train.ts'], { encoding: 'utf8' })
      .trim()
      .split('\n');
    process.kill(Number(pid), 'SIGABRT');
    const ended = await settled(run);
    expect(ended).toMatchObject({ state: 'failed', error: { code: 'DEVICE_FAILED' } });
    expect(ended.error?.hint).toMatch(/maxLength.*device cpu/);
    expect(ended.checkpoints.length).toBeGreaterThan(0);
  });

  it('keeps its base in 16 bits where the graphics processor knows them', async (test) => {
    const before = process.env['VK_ICD_FILENAMES'];
    process.env['VK_ICD_FILENAMES'] = need(test, 'lavapipe', found.lavapipe);
    onTestFinished(() => void (process.env['VK_ICD_FILENAMES'] = before));
    const { devices } = await app.client.call('app.doctor', {});
    expect(devices.find(({ device }) => device === 'webgpu')?.name).toContain('llvmpipe');
    const there = await finished({ device: 'webgpu', precision: 'fp16' });
    expect(there).toMatchObject({ state: 'completed', device: { device: 'webgpu' } });
    const here = await finished({ device: 'cpu', precision: 'fp16' });
    expect(Math.abs(there.heldOutLoss! - here.heldOutLoss!)).toBeLessThan(1e-3);
  });
});
