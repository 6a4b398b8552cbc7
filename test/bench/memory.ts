/**
 * @file `npm run bench:memory`: what a run was estimated to take of memory, what its process took at its peak, and how long
 * it took until the first loss, for each of some configurations in the real training process.
 * Options: --only TEXT (configurations whose name holds it), --threads N, --json (JSON alone), --large (also a Llama of 1.1
 * billion parameters in int4: writes 2.2 GB for a while).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Recipe } from '../../main/contract/recipe.ts';
import { modulesOf, readSpec } from '../../main/engine/index.ts';
import { openModel } from '../../main/formats/open.ts';
import { trainingMemory } from '../../main/recipes/memory.ts';
import { LARGE, MIDDLE, writeTinyModel } from '../fixtures/tiny-model.ts';
import { found } from '../support/needs.ts';
import { readOptions } from './options.ts';
import { texts, trainInWorker } from '../support/train-worker.ts';

const values = readOptions({ only: '', threads: 2, json: false, large: false });

type Set = Partial<Recipe>;
const CASES: readonly Set[] = [
  { maxLength: 128, batchSize: 1 },
  { maxLength: 256, batchSize: 1 },
  { maxLength: 256, batchSize: 4, rank: 64 },
  { maxLength: 512, batchSize: 1 },
  { maxLength: 512, batchSize: 4, activationCheckpointing: true },
  { maxLength: 1024, batchSize: 1 },
  { maxLength: 256, batchSize: 2, precision: 'int8' },
  { maxLength: 512, batchSize: 1, precision: 'int8', activationCheckpointing: true },
  { maxLength: 256, batchSize: 1, precision: 'fp16' },
  { maxLength: 512, batchSize: 4, precision: 'fp16', activationCheckpointing: true },
  { maxLength: 512, batchSize: 1, precision: 'int4' },
  { maxLength: 256, batchSize: 1, useDora: true },
  { maxLength: 256, batchSize: 1, modulesToSave: ['embed_tokens'] },
  { maxLength: 256, batchSize: 1, method: 'full' },
];

const folder = await mkdtemp(join(tmpdir(), 'fettle-memory-'));
const results: Record<string, unknown>[] = [];
try {
  const models = [
    { name: '12 layers', path: await writeTinyModel(join(folder, 'middle'), MIDDLE), cases: CASES, per: 'character' },
    ...(found.starter ? [{ name: 'SmolLM2', path: found.starter, cases: CASES, per: 'word' } as const] : []),
    ...(values.large
      ? [
          {
            name: '1.1B',
            path: await writeTinyModel(join(folder, 'large'), LARGE),
            cases: [{ maxLength: 512, batchSize: 1, precision: 'int4' }] as const,
            per: 'character',
          } as const,
        ]
      : []),
  ] as const;
  for (const { name, path, cases, per } of models) {
    const files = await openModel(path);
    const spec = readSpec(files.config);
    await files.close();
    const model = { spec, modules: modulesOf(spec), parameters: 0 };
    for (const set of cases) {
      const words = Object.entries(set).map(([key, value]) => `${key}=${String(value)}`);
      const title = `${name} ${words.join(' ')}`;
      if (!title.includes(values.only)) continue;
      const recipe = Recipe.parse({ strategy: 'non-instruct', maxSteps: 8, ...set });
      const rows = texts(recipe.batchSize + 2, recipe.maxLength, per);
      const run = await trainInWorker(join(folder, 'run'), path, recipe, { rows, threads: values.threads });
      await rm(join(folder, 'run'), { recursive: true });
      const estimated = trainingMemory(model, recipe, { threads: values.threads });
      const firstLoss = run.events.find(({ event }) => event.type === 'eval' || event.type === 'step')!.seconds;
      const off = estimated / run.peakBytes - 1;
      results.push({ title, estimatedBytes: estimated, peakBytes: run.peakBytes, off, secondsToFirstLoss: firstLoss });
      if (!values.json)
        console.log(
          `${title.padEnd(64)} ${megabytes(estimated)} estimated ${megabytes(run.peakBytes)} measured ${percent(off)}  first loss after ${firstLoss.toFixed(1)} s`,
        );
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
const worst = Math.max(...results.map(({ off }) => Math.abs(off as number)));
if (!values.json) console.log(`${results.length} configurations, at most ${percent(worst)} off; ${cpus()[0]?.model}`);
console.log(JSON.stringify({ benchmark: 'memory', cpu: cpus()[0]?.model, node: process.version, results }));

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0).padStart(5)} MB`;
}
function percent(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)}%`;
}
