/** @file What a run is said to take, beside what its process and its folder took. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Recipe } from '../contract/recipe.ts';
import { modulesOf, readSpec } from '../engine/index.ts';
import { openModel } from '../formats/open.ts';
import { MIDDLE, writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { texts, trainInWorker } from '../../test/support/train-worker.ts';
import { CHECKPOINT_JSON_BYTES, diskBytes, tensorBytes } from './disk.ts';
import { deviceMemory, trainingMemory, type ModelSize } from './memory.ts';

const llama = (sizes: Readonly<Record<string, number>>): ModelSize => {
  const spec = readSpec({
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_act: 'silu',
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    ...sizes,
  });
  return { spec, modules: modulesOf(spec), parameters: 0 };
};
const middle = llama({
  hidden_size: 384,
  num_hidden_layers: 12,
  num_attention_heads: 6,
  num_key_value_heads: 6,
  intermediate_size: 1024,
  vocab_size: 8192,
});
const smollm2 = llama({
  hidden_size: 576,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  intermediate_size: 1536,
  vocab_size: 49152,
});

/** Peaks of resident memory in MB with two threads, as `npm run bench:memory` measured them on Linux x64, medians of three (docs/benchmarks.md). */
const MEASURED: readonly [ModelSize, Partial<Recipe>, number][] = [
  [middle, { maxLength: 128, batchSize: 1 }, 354],
  [middle, { maxLength: 256, batchSize: 1 }, 383],
  [middle, { maxLength: 256, batchSize: 4, rank: 64 }, 604],
  [middle, { maxLength: 512, batchSize: 1 }, 473],
  [middle, { maxLength: 512, batchSize: 4, activationCheckpointing: true }, 445],
  [middle, { maxLength: 1024, batchSize: 1 }, 743],
  [middle, { maxLength: 256, batchSize: 2, precision: 'int8' }, 488],
  [middle, { maxLength: 512, batchSize: 1, precision: 'int8', activationCheckpointing: true }, 318],
  [middle, { maxLength: 256, batchSize: 1, precision: 'fp16' }, 349],
  [middle, { maxLength: 512, batchSize: 4, precision: 'fp16', activationCheckpointing: true }, 438],
  [middle, { maxLength: 512, batchSize: 1, precision: 'int4' }, 410],
  [middle, { maxLength: 256, batchSize: 1, useDora: true }, 410],
  [middle, { maxLength: 256, batchSize: 1, modulesToSave: ['embed_tokens'] }, 433],
  [middle, { maxLength: 256, batchSize: 1, method: 'full' }, 647],
  [smollm2, { maxLength: 128, batchSize: 1 }, 1002],
  [smollm2, { maxLength: 256, batchSize: 1 }, 1125],
  [smollm2, { maxLength: 256, batchSize: 4, rank: 64 }, 1821],
  [smollm2, { maxLength: 512, batchSize: 1 }, 1438],
  [smollm2, { maxLength: 512, batchSize: 4, activationCheckpointing: true }, 1145],
  [smollm2, { maxLength: 1024, batchSize: 1 }, 1676],
  [smollm2, { maxLength: 256, batchSize: 2, precision: 'int8' }, 1389],
  [smollm2, { maxLength: 512, batchSize: 1, precision: 'int8', activationCheckpointing: true }, 825],
  [smollm2, { maxLength: 256, batchSize: 1, precision: 'fp16' }, 893],
  [smollm2, { maxLength: 512, batchSize: 4, precision: 'fp16', activationCheckpointing: true }, 941],
  [smollm2, { maxLength: 512, batchSize: 1, precision: 'int4' }, 1126],
  [smollm2, { maxLength: 256, batchSize: 1, useDora: true }, 1181],
  [smollm2, { maxLength: 256, batchSize: 1, modulesToSave: ['embed_tokens'] }, 1640],
  [smollm2, { maxLength: 256, batchSize: 1, method: 'full' }, 2719],
];

/** In MiB, as nvidia-smi told of an H100: tokens of a row, rows, tokens of a micro-batch. */
const ON_DEVICE: readonly [number, number, number, number][] = [
  [256, 1, 2048, 1495],
  [512, 4, 512, 1715],
  [512, 4, 1024, 2339],
  [512, 4, 2048, 3188],
  [512, 16, 2048, 3184],
  [512, 16, 8192, 9371],
];

describe('the estimate of memory', () => {
  it.each(ON_DEVICE)(
    'is within a tenth of what a graphics processor held: %i tokens, %i rows, %i at a time',
    (maxLength, batchSize, tokens, mebibytes) => {
      const estimated = deviceMemory(smollm2, { maxLength, batchSize, packing: false }, tokens);
      expect(Math.abs(estimated / (mebibytes * 2 ** 20) - 1)).toBeLessThan(0.1);
    },
  );

  it.each(MEASURED)('is within a twentieth of what was measured (%#)', (model, set, megabytes) => {
    const recipe = Recipe.parse({ strategy: 'non-instruct', ...set });
    const off = trainingMemory(model, recipe, { threads: 2 }) / (megabytes * 1e6) - 1;
    expect(Math.abs(off)).toBeLessThan(0.05);
  });

  it('grows with what is asked for, and shrinks with what is given up', () => {
    const needs = (set: Partial<Recipe>): number =>
      trainingMemory(smollm2, { maxLength: 512, batchSize: 1, ...set }, { threads: 2 });
    expect(needs({ maxLength: 1024 })).toBeGreaterThan(needs({}));
    expect(needs({ batchSize: 2 })).toBeGreaterThan(needs({}));
    expect(needs({ rank: 128 })).toBeGreaterThan(needs({}));
    expect(needs({ method: 'full' })).toBeGreaterThan(needs({ rank: 128 }));
    expect(needs({ activationCheckpointing: true })).toBeLessThan(needs({}));
    expect(needs({ precision: 'int4' })).toBeLessThan(needs({ precision: 'int8' }));
    expect(needs({ precision: 'int8' })).toBeLessThan(needs({}));
    expect(needs({ precision: 'fp16' })).toBeLessThan(needs({}));
    expect(needs({ precision: 'int4' })).toBeLessThan(needs({ precision: 'fp16' }));
  });
});

describe('a run in its process', () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'fettle-takes-'))));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(['fp32', 'fp16', 'int8', 'int4'] as const)(
    'writes what was estimated, to the byte of its tensors (%s)',
    async (precision) => {
      const path = await writeTinyModel(join(folder, precision));
      const files = await openModel(path);
      const spec = readSpec(files.config);
      await files.close();
      const model: ModelSize = { spec, modules: modulesOf(spec), parameters: 0 };
      const recipe = Recipe.parse({
        strategy: 'non-instruct',
        lossOn: 'all',
        precision,
        maxLength: 64,
        batchSize: 1,
        maxSteps: 4,
        saveEvery: 1,
        evalEvery: 0,
        keepCheckpoints: 10,
      });
      const run = join(folder, `run-${precision}`);
      // As many rows as are looked at for int8, each long enough.
      await trainInWorker(run, path, recipe, { rows: texts(18, 160, 'character'), threads: 1 });
      const checkpoints = join(run, 'checkpoints');
      const sizes: number[] = [];
      for (const name of await readdir(checkpoints)) {
        const names = await readdir(join(checkpoints, name));
        const bytes = async (wanted: boolean): Promise<number> => {
          const chosen = names.filter((file) => file.endsWith('.safetensors') === wanted);
          const found = await Promise.all(chosen.map((file) => stat(join(checkpoints, name, file))));
          return found.reduce((sum, { size }) => sum + size, 0);
        };
        sizes.push(await bytes(true));
        expect(await bytes(false)).toBeLessThan(CHECKPOINT_JSON_BYTES);
      }
      expect(sizes).toEqual(Array.from({ length: 5 }, () => tensorBytes(model, recipe)));
      expect(diskBytes(model, recipe, 4)).toBeGreaterThanOrEqual(5 * tensorBytes(model, recipe));
    },
  );

  it.runIf(process.platform === 'linux' && process.arch === 'x64')('takes the memory that was estimated', async () => {
    const path = await writeTinyModel(join(folder, 'middle'), MIDDLE);
    const recipe = Recipe.parse({ strategy: 'non-instruct', maxSteps: 1, maxLength: 128, batchSize: 1 });
    const { peakBytes } = await trainInWorker(join(folder, 'run-middle'), path, recipe, {
      rows: texts(3, 128, 'character'),
    });
    // Wider than what is promised of larger models: the process itself is half of this.
    expect(Math.abs(trainingMemory(middle, recipe, { threads: 2 }) / peakBytes - 1)).toBeLessThan(0.1);
  });
});
