/** @file What must not change a result: packing, padding, and how a batch is cut into micro-batches. And what an adapter merged into its base gives. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError, worstDifference } from '../../../test/support/numbers.ts';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { checkWeights, loadBase, Random, readSpec, type BaseModel, type TunedModel } from '../index.ts';
import { assembleBatch } from '../train/batches.ts';
import type { Example } from '../types.ts';
import { mergeableOf, mergedWeights } from './merge.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-equality-'));
let files: ModelFiles;
let base: BaseModel;
let model: TunedModel;
beforeAll(async () => {
  files = await openModel(await writeTinyModel(folder));
  base = await loadBase(files.config, files.weights, { threads: 1 });
  model = base.withLora({ rank: 3, alpha: 6, targetModules: ['q_proj', 'v_proj', 'gate_proj', 'down_proj'], seed: 1 });
  const random = new Random(2);
  model.parameters.values.forEach((_, i, values) => (values[i] = 0.1 * random.normal()));
});
afterAll(async () => {
  await base.release();
  await files.close();
  rmSync(folder, { recursive: true, force: true });
});

const random = new Random(9);
const example = (length: number, share = 0.7): Example => ({
  ids: Int32Array.from({ length }, () => random.int(256)),
  loss: Uint8Array.from({ length }, () => (random.next() < share ? 1 : 0)),
});
/** Summed loss and gradients of rows that each hold some examples. */
async function of(
  rows: readonly (readonly Example[])[],
  maxLength = 256,
): Promise<{ loss: number; gradients: Float32Array }> {
  model.parameters.gradients.fill(0);
  const loss = await model.accumulate(assembleBatch(rows, maxLength), 1);
  return { loss, gradients: model.parameters.gradients.slice() };
}
type Result = Awaited<ReturnType<typeof of>>;
/** One after the other: they share their buffers. */
async function same(a: () => Promise<Result>, b: () => Promise<Result>): Promise<void> {
  const left = await a();
  const right = await b();
  expect(Math.abs(left.loss - right.loss) / right.loss).toBeLessThan(1e-5);
  expect(relativeError(left.gradients, right.gradients)).toBeLessThan(1e-4);
}

describe('loss and gradients are the same', () => {
  it('whether examples share a row or have one each', async () => {
    const [a, b, c] = [example(40), example(17), example(61)];
    await same(
      () => of([[a, b, c]]),
      () => of([[a], [b], [c]]),
    );
  });

  it('however a batch is cut into micro-batches', async () => {
    const many = Array.from({ length: 7 }, () => example(200));
    const apart = async (): Promise<Result> => {
      let loss = 0;
      const gradients = new Float32Array(model.parameters.gradients.length);
      for (const each of many) {
        const one = await of([[each]]);
        loss += one.loss;
        one.gradients.forEach((g, i) => (gradients[i]! += g));
      }
      return { loss, gradients };
    };
    await same(() => of(many.map((each) => [each])), apart);
  });

  it('whatever comes after an example in its row', async () => {
    const [a, b] = [example(30), example(30, 0)];
    await same(
      () => of([[a, b]]),
      () => of([[a]]),
    );
  });
});

describe('blocks computed again on the way back', () => {
  it('give the same gradients, bit for bit', async () => {
    const options = { rank: 3, alpha: 6, targetModules: ['q_proj', 'down_proj'], seed: 4, dropout: 0.2 };
    const batch = assembleBatch([[example(40), example(17)], [example(61)]], 256);
    const gradients = async (activationCheckpointing: boolean): Promise<Float32Array> => {
      const tuned = base.withLora({ ...options, activationCheckpointing });
      tuned.parameters.values.set(model.parameters.values.subarray(0, tuned.parameters.values.length));
      await tuned.accumulate(batch, 1, 7);
      return tuned.parameters.gradients;
    };
    const again = await gradients(true);
    expect(await gradients(false)).toEqual(again);
    expect(again.some((value) => value !== 0)).toBe(true);
  });
});

describe('dropout', () => {
  const batch = assembleBatch([[example(40), example(17)]], 256);
  const tuned = (dropout = 0.3) => {
    const made = base.withLora({ rank: 3, alpha: 6, targetModules: ['v_proj', 'up_proj'], seed: 4, dropout });
    const values = new Random(5);
    made.parameters.values.forEach((_, i, all) => (all[i] = 0.3 * values.normal()));
    return made;
  };

  it('is the same for the same batch of a run, and another for another', async () => {
    const subject = tuned();
    const losses = [await subject.accumulate(batch, 0, 3), await subject.accumulate(batch, 0, 3)];
    expect(losses[1]).toBe(losses[0]);
    expect(await subject.accumulate(batch, 0, 4)).not.toBe(losses[0]);
  });

  it('is there where its share is small', async () => {
    const subject = tuned(0.001);
    expect(await subject.accumulate(batch, 0, 3)).not.toBe(await tuned(0).accumulate(batch, 0, 3));
    expect(await subject.accumulate(batch, 0, 4)).not.toBe(await subject.accumulate(batch, 0, 3));
  });

  it('takes no part in measuring and answering', async () => {
    const subject = tuned();
    const sum = (await subject.losses(batch)).reduce((a, b) => a + b, 0);
    const whole = base.withLora({ rank: 3, alpha: 6, targetModules: ['v_proj', 'up_proj'], seed: 4 });
    whole.parameters.values.set(subject.parameters.values);
    expect(sum).toBeCloseTo(await whole.accumulate(batch, 0), 2);
  });

  it('gives on average what no dropout gives, to first order', async () => {
    const subject = tuned();
    // With B near zero the loss is linear in the adapter's product, whose mean dropout keeps.
    subject.parameters.entries
      .filter(({ name }) => name.endsWith('lora_B.weight'))
      .forEach(({ offset, size }) => {
        for (let i = offset; i < offset + size; i++) subject.parameters.values[i]! *= 1e-2;
      });
    const plain = (await subject.losses(batch)).reduce((a, b) => a + b, 0);
    const bare = (await base.losses(batch)).reduce((a, b) => a + b, 0);
    const draws: number[] = [];
    for (let draw = 0; draw < 60; draw++) draws.push(await subject.accumulate(batch, 0, draw));
    const mean = draws.reduce((a, b) => a + b, 0) / draws.length;
    const deviation = Math.sqrt(draws.reduce((a, b) => a + (b - mean) ** 2, 0) / draws.length / (draws.length - 1));
    expect(Math.abs(mean - plain)).toBeLessThan(4 * deviation);
    expect(Math.abs(plain - bare)).toBeGreaterThan(deviation);
  });
});

describe('an adapter merged into its base', () => {
  it('gives the adapter’s logits', async () => {
    const merged = await loadBase(files.config, mergedWeights(mergeableOf(model), files.weights, model.spec), {
      threads: 1,
    });
    const { ids } = example(50);
    expect(worstDifference(await merged.logits(ids), await model.logits(ids))).toBeLessThan(1e-4);
    expect(worstDifference(await base.logits(ids), await model.logits(ids))).toBeGreaterThan(1e-2);
    await merged.release();
  });
});

describe('models that do not fit', () => {
  it('are refused by the name of their architecture', () => {
    for (const type of ['mamba', 'mixtral', 'qwen3_moe'])
      expect(() => readSpec({ ...files.config, model_type: type })).toThrow(
        expect.objectContaining({
          code: 'MODEL_UNSUPPORTED',
          message: expect.stringContaining(type) as unknown,
          hint: expect.stringContaining('llama') as unknown,
        }),
      );
    expect(() => readSpec({ ...files.config, rope_scaling: { rope_type: 'dynamic', factor: 2 } })).toThrow(
      expect.objectContaining({ code: 'MODEL_UNSUPPORTED' }),
    );
  });

  it('are refused where a tensor is missing or has another shape, before anything is read', () => {
    const spec = readSpec(files.config);
    const without = (name: string) => ({
      ...files.weights,
      names: files.weights.names.filter((each) => each !== name),
    });
    expect(() => checkWeights(spec, without('model.norm.weight'))).toThrow(
      expect.objectContaining({
        code: 'MODEL_INCOMPLETE',
        message: expect.stringContaining('model.norm.weight') as unknown,
      }),
    );
    expect(() => checkWeights(readSpec({ ...files.config, hidden_size: 32, head_dim: 8 }), files.weights)).toThrow(
      expect.objectContaining({ code: 'MODEL_INCOMPLETE' }),
    );
    expect(() => checkWeights(spec, files.weights)).not.toThrow();
  });
});
