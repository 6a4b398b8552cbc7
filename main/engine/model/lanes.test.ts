/** @file Lanes give what one lane gives, with the same bits each time, for each kind of thing that is trained. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { relativeError, worstDifference } from '../../../test/support/numbers.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { loadBase, Random, type BaseModel, type TunedModel } from '../index.ts';
import { assembleBatch } from '../train/batches.ts';
import type { Batch, Example } from '../types.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-lanes-'));
let files: ModelFiles;
let [one, three]: (BaseModel | undefined)[] = [];
beforeAll(async () => {
  files = await openModel(await writeTinyModel(folder));
  one = await loadBase(files.config, files.weights, { threads: 1, lanes: 1 });
  three = await loadBase(files.config, files.weights, { threads: 1, lanes: 3 });
});
afterAll(async () => {
  await one?.release();
  await three?.release();
  await files.close();
  rmSync(folder, { recursive: true, force: true });
});

const random = new Random(9);
const example = (length: number): Example => ({
  ids: Int32Array.from({ length }, () => random.int(256)),
  loss: Uint8Array.from({ length }, () => (random.next() < 0.7 ? 1 : 0)),
});
const batch = (lengths: readonly number[]): Batch =>
  assembleBatch(
    lengths.map((length) => [example(length)]),
    128,
  );
const targets = ['q_proj', 'down_proj'];
const MODELS: Readonly<Record<string, (base: BaseModel) => TunedModel>> = {
  'an adapter': (base) => base.withLora({ rank: 3, alpha: 6, targetModules: targets, seed: 1 }),
  'an adapter with the embedding': (base) =>
    base.withLora({ rank: 3, alpha: 6, targetModules: targets, modulesToSave: ['embed_tokens'], seed: 1 }),
  'all weights': (base) => base.withAllTrained({ seed: 1 }),
};

describe.each(Object.entries(MODELS))('%s', (_, trained) => {
  it('has the same losses and gradients', async () => {
    const models = [trained(one!), trained(three!)];
    const noise = new Random(4);
    const values = models[0]!.parameters.values.map((value) => value + 0.05 * noise.normal());
    const rows = batch([128, 40, 90, 33, 64, 128, 17]);
    const of = async (model: TunedModel) => {
      model.parameters.values.set(values);
      model.parameters.gradients.fill(0);
      const loss = await model.accumulate(rows, 0.5);
      return { loss, losses: await model.losses(rows), gradients: model.parameters.gradients.slice() };
    };
    const [alone, beside] = [await of(models[0]!), await of(models[1]!)];
    expect(beside.loss).toBeCloseTo(alone.loss, 2);
    expect(worstDifference(beside.losses, alone.losses)).toBeLessThan(1e-4);
    expect(relativeError(beside.gradients, alone.gradients)).toBeLessThan(1e-4);
    expect(await of(models[1]!)).toEqual(beside);
  });
});

it('a base answers in lanes, and has fewer of them than rows where there are few', async () => {
  for (const lengths of [[20], [100, 30], [30, 30, 30, 30, 30]]) {
    const rows = batch(lengths);
    expect(worstDifference(await three!.losses(rows), await one!.losses(rows))).toBeLessThan(1e-4);
  }
});

it('lanes share a base in halves as it is', async () => {
  const open = (lanes: number): Promise<BaseModel> =>
    loadBase(files.config, files.weights, { threads: 1, lanes, precision: 'fp16' });
  const [alone, beside] = [await open(1), await open(3)];
  const rows = batch([100, 30, 64]);
  expect(worstDifference(await beside.losses(rows), await alone.losses(rows))).toBeLessThan(1e-4);
  await alone.release();
  await beside.release();
});

it('a fault in a lane is told as it is in one', async () => {
  const rows = batch([20, 20, 20]);
  rows.ids.fill(9999, rows.length);
  await expect(three!.losses(rows)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  const sound = batch([20, 20, 20]);
  expect(await three!.losses(sound)).toHaveLength(sound.labelled);
});

it('a lane whose thread ends in the middle of a run says so, and holds up nobody who closes it', async () => {
  const threads: Worker[] = [];
  const note = (thread: Worker): void => void threads.push(thread);
  process.on('worker', note);
  const base = await loadBase(files.config, files.weights, { threads: 1, lanes: 3 });
  const rows = batch([20, 20, 20]);
  expect(await base.losses(rows)).toHaveLength(rows.labelled);
  process.off('worker', note);
  expect(threads).toHaveLength(2);
  const asked = base.losses(rows);
  const ended = threads[1]!.terminate();
  await expect(asked).rejects.toThrow('A thread of the engine ended');
  await expect(base.losses(rows)).rejects.toThrow('A thread of the engine ended');
  await ended;
  await base.release();
});
