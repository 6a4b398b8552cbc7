/** @file Every method of training resumes with the same bits, and learns. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { Recipe } from '../../contract/recipe.ts';
import type { TrainEvent } from '../../contract/training.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { loadBase, Random, type TunedModel } from '../index.ts';
import type { Example } from '../types.ts';
import { train } from './trainer.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-methods-'));
let files: ModelFiles;
beforeAll(async () => {
  files = await openModel(await writeTinyModel(join(folder, 'model')));
});
afterAll(async () => {
  await files.close();
  rmSync(folder, { recursive: true, force: true });
});

const random = new Random(9);
const examples: Example[] = Array.from({ length: 12 }, () => {
  const first = random.int(200);
  const ids = Int32Array.from({ length: 24 }, (_, i) => (first + 3 * i) % 256);
  return { ids, loss: new Uint8Array(24).fill(1) };
});

const METHODS: Readonly<Record<string, Partial<Recipe>>> = {
  'an adapter': {},
  'with dropout': { dropout: 0.25 },
  'computing blocks again': { activationCheckpointing: true, dropout: 0.25 },
  DoRA: { useDora: true },
  'rsLoRA with LoRA+': { useRslora: true, loraPlusRatio: 4 },
  'an adapter and the embedding': { modulesToSave: ['embed_tokens'] },
  'all weights': { method: 'full', learningRate: 2e-3, weightDecay: 0.1 },
};

describe.each(Object.entries(METHODS))('%s', (name, settings) => {
  const recipe = (maxSteps: number): Recipe =>
    Recipe.parse({
      strategy: 'non-instruct',
      learningRate: 1e-2,
      rank: 4,
      alpha: 8,
      maxSteps,
      batchSize: 2,
      gradientAccumulation: 2,
      maxLength: 32,
      evalEvery: 0,
      saveEvery: 3,
      schedule: 'constant',
      warmupRatio: 0,
      ...settings,
    });
  const run = async (
    where: string,
    maxSteps: number,
    resume = false,
  ): Promise<{ model: TunedModel; events: TrainEvent[] }> => {
    const base = await loadBase(files.config, files.weights, { threads: 1 });
    const made = recipe(maxSteps);
    const model = made.method === 'full' ? base.becomeAllTrained(made) : base.withLora(made);
    const events: TrainEvent[] = [];
    await train({
      model,
      train: examples,
      heldOut: examples.slice(0, 2),
      recipe: made,
      runId: 'r',
      checkpointDir: join(folder, name.replaceAll(' ', '-'), where),
      resume,
      onEvent: (event) => events.push(event),
      control: { requested: () => 'none' },
      clock: () => 0,
      memory: () => 0,
    });
    await base.release();
    return { model, events };
  };

  it('resumes with the same bits, and learns', async () => {
    const { model: whole, events } = await run('whole', 6);
    await run('parts', 3);
    const { model: parts } = await run('parts', 6, true);
    expect(parts.parameters.values).toEqual(whole.parameters.values);
    const losses = events.flatMap((event) => (event.type === 'eval' ? [event.loss] : []));
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });
});
