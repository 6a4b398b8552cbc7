/**
 * @file `npm run bench:estimate`: how long runs were estimated to take after their calibration, and how long they took,
 * from the start of the process to its end, in the real service.
 * Options: --only TEXT (configurations whose name holds it), --threads N, --steps N (of each run).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Recipe } from '../../main/contract/recipe.ts';
import { resource } from '../../main/core/resources.ts';
import { createApp } from '../../main/hosts/app.ts';
import { MIDDLE, writeTinyModel } from '../fixtures/tiny-model.ts';
import { found } from '../support/needs.ts';
import { sums } from '../support/sums.ts';
import { readOptions } from './options.ts';

const values = readOptions({ only: '', threads: 2, steps: 40 });
type Case = Partial<Recipe>;
/** Of the small model with rows of one length and of many; of SmolLM2 what a person is offered. */
const CASES: Readonly<Record<'small' | 'SmolLM2' | 'starter', readonly Case[]>> = {
  small: [
    { precision: 'fp32', maxLength: 256 },
    { precision: 'int8', maxLength: 256 },
    { precision: 'fp32', maxLength: 256, batchSize: 4, packing: false },
    { precision: 'fp32', maxLength: 128, activationCheckpointing: true },
  ],
  SmolLM2: [
    { precision: 'fp32', maxLength: 256, batchSize: 4 },
    { precision: 'int8', maxLength: 256, evalEvery: 10, saveEvery: 5 },
    { precision: 'fp32', maxLength: 128, activationCheckpointing: true },
  ],
  starter: [{ precision: 'fp32', method: 'full', maxLength: 256, batchSize: 4, evalEvery: 10, saveEvery: 5 }],
};
const ROWS = 200;

const folder = await mkdtemp(join(tmpdir(), 'fettle-estimate-'));
const app = createApp({ home: join(folder, 'home'), kind: 'command', threads: values.threads });
const { client, core } = app;
const settled = async ({ id }: { id: string }): Promise<void> => {
  const { state, error } = await core.jobs.settled(id);
  if (state !== 'completed') throw new Error(`a job is ${state}: ${error?.message ?? ''}`);
};
const results: Record<string, unknown>[] = [];
try {
  await client.call('projects.create', { name: 'Sums' });
  const file = join(folder, 'sums.jsonl');
  await writeFile(file, sums(ROWS));
  await settled(await client.call('datasets.import', { project: 'sums', paths: [file] }));
  const models = {
    small: await writeTinyModel(join(folder, 'middle'), MIDDLE),
    SmolLM2: found.starter,
    starter: resource('starter'),
  };
  for (const name of ['small', 'SmolLM2', 'starter'] as const) {
    const path = models[name];
    if (path === undefined) continue;
    const added = await client.call('models.add', { path, name });
    await settled(added);
    for (const each of CASES[name]) {
      const title = `${name} ${Object.entries(each)
        .map(([key, value]) => `${key}=${String(value)}`)
        .join(' ')}`;
      if (!title.includes(values.only)) continue;
      const usual = { lossOn: 'all', batchSize: 1, evalEvery: 0, saveEvery: 0, earlyStopping: 0, device: 'cpu' };
      const set = { ...usual, ...each, maxSteps: values.steps };
      const request = { project: 'sums', model: added.subject, set };
      await settled(await client.call('runs.calibrate', request));
      const { estimate } = await client.call('runs.plan', request);
      const begun = performance.now();
      const run = await client.call('runs.start', request);
      await settled(core.jobs.of('train', run.id)!);
      const taken = (performance.now() - begun) / 1000;
      const { peakMemoryBytes } = await client.call('runs.show', { run: run.id });
      const [time, memory] = [estimate.seconds! / taken - 1, estimate.memoryBytes / peakMemoryBytes! - 1];
      const [load] = loadavg();
      console.log(
        `${title.padEnd(64)} ${estimate.seconds!.toFixed(1).padStart(6)} s estimated ${taken.toFixed(1).padStart(6)} s taken ${percent(time)}, memory ${percent(memory)}, load ${load!.toFixed(1)}`,
      );
      results.push({ title, estimatedSeconds: estimate.seconds, seconds: taken, time, memory, load });
    }
  }
} finally {
  await app.close();
  await rm(folder, { recursive: true, force: true });
}
console.log(JSON.stringify({ benchmark: 'estimate', cpu: cpus()[0]?.model, node: process.version, results }));

function percent(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)}%`;
}
