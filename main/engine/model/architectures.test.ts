/** @file What must hold for every architecture, whatever its windows and positions: packing, the cache, gradients over many blocks of queries, merging by every method. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError, worstDifference } from '../../../test/support/numbers.ts';
import { randomWeights, TINY_CONFIGS } from '../../../test/fixtures/tiny-configs.ts';
import type { WeightSource } from '../../formats/model.ts';
import { loadBase, modulesOf, Random, type BaseModel, type TunedModel } from '../index.ts';
import { assembleBatch } from '../train/batches.ts';
import type { Batch, Example } from '../types.ts';
import { mergeableOf, mergedWeights } from './merge.ts';

const random = new Random(11);
const someIds = (length: number): Int32Array => Int32Array.from({ length }, () => random.int(96));
const example = (length: number): Example => ({
  ids: someIds(length),
  loss: Uint8Array.from({ length }, (_, i) => Number(i > length / 3)),
});

describe.each(Object.entries(TINY_CONFIGS))('%s', (_, config) => {
  let weights: WeightSource;
  let base: BaseModel;
  const changed = (model: TunedModel): TunedModel => {
    const values = new Random(5);
    model.parameters.values.forEach((value, i, all) => (all[i] = value + 0.05 * values.normal()));
    return model;
  };
  const adapted = (options: { readonly useDora?: boolean; readonly useRslora?: boolean } = {}): TunedModel =>
    changed(base.withLora({ rank: 3, alpha: 6, targetModules: modulesOf(base.spec), seed: 1, ...options }));
  beforeAll(async () => {
    weights = randomWeights(config);
    base = await loadBase(config, weights, { threads: 1 });
  });
  afterAll(() => base.release());

  it('gives the same loss and gradients whether texts share a row or have one each', async () => {
    const model = adapted();
    const of = async (rows: readonly (readonly Example[])[]): Promise<{ loss: number; gradients: Float32Array }> => {
      model.parameters.gradients.fill(0);
      const loss = await model.accumulate(assembleBatch(rows, 256), 1);
      return { loss, gradients: model.parameters.gradients.slice() };
    };
    // Shorter and longer than the windows and than the length that LongRoPE turns at; over more than one block of queries.
    const [a, b, c] = [example(30), example(150), example(61)];
    const together = await of([[a, b, c]]);
    const apart = await of([[a], [b], [c]]);
    expect(Math.abs(together.loss / apart.loss - 1)).toBeLessThan(1e-5);
    expect(relativeError(together.gradients, apart.gradients)).toBeLessThan(1e-4);
  });

  it('gives through its cache what it gives at once, over pieces of a prompt and token by token', async () => {
    const model = adapted();
    const ids = someIds(540);
    const all = await model.logits(ids);
    const at = (length: number): Float32Array => all.slice((length - 1) * 96, length * 96);
    const decoder = model.generator();
    expect(worstDifference(await decoder.prefill([...ids.subarray(0, 530)]), at(530))).toBeLessThan(1e-4);
    let last = at(530);
    for (const id of ids.subarray(530)) last = await decoder.step(id);
    expect(worstDifference(last, at(540))).toBeLessThan(1e-4);
    await decoder.release();
    // A text that grows over the length that LongRoPE turns at.
    const short = await model.logits(ids.slice(0, 60));
    const growing = model.generator();
    let grown = await growing.prefill([...ids.subarray(0, 45)]);
    for (const id of ids.subarray(45, 60)) grown = await growing.step(id);
    expect(worstDifference(grown, short.slice(-96))).toBeLessThan(1e-4);
    await growing.release();
  });

  it('has the gradient that finite differences give, over more than one block of queries', async () => {
    const model = adapted();
    const batch: Batch = assembleBatch([[example(170)]], 256);
    const { values, gradients } = model.parameters;
    gradients.fill(0);
    await model.accumulate(batch, 1);
    const norm = Math.sqrt(gradients.reduce((sum, g) => sum + g * g, 0));
    const [start, direction] = [values.slice(), gradients.map((g) => g / norm)];
    const moved = async (by: number): Promise<number> => {
      start.forEach((value, i) => (values[i] = value + by * direction[i]!));
      return (await model.losses(batch)).reduce((sum, loss) => sum + loss, 0);
    };
    const slope = ((await moved(1e-2)) - (await moved(-1e-2))) / 2e-2;
    values.set(start);
    expect(Math.abs(slope / norm - 1)).toBeLessThan(0.01);
  });

  it('is the same model with what was trained merged into its weights, by every method', async () => {
    const ids = someIds(70);
    const tuned = [
      adapted(),
      adapted({ useRslora: true }),
      adapted({ useDora: true }),
      changed(base.withAllTrained({ seed: 1 })),
    ];
    for (const model of tuned) {
      const merged = await loadBase(config, mergedWeights(mergeableOf(model), weights, model.spec), { threads: 1 });
      const wanted = await model.logits(ids);
      expect(worstDifference(await merged.logits(ids), wanted)).toBeLessThan(2e-4);
      expect(worstDifference(await base.logits(ids), wanted)).toBeGreaterThan(1e-2);
      await merged.release();
    }
  });
});
