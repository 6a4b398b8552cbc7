/** @file What must not change a result: packing, padding, and how a batch is cut into micro-batches. And what an adapter merged into its base gives. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError, worstDifference } from '../../../test/support/numbers.ts';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { checkWeights, loadBase, Random, readSpec, type BaseModel, type LoraModel } from '../index.ts';
import { assembleBatch } from '../train/batches.ts';
import type { Example } from '../types.ts';
import { adapterOf, mergedWeights } from './merge.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-equality-'));
let files: ModelFiles;
let base: BaseModel;
let model: LoraModel;
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

describe('an adapter merged into its base', () => {
  it('gives the adapter’s logits', async () => {
    const merged = await loadBase(files.config, mergedWeights(adapterOf(model), files.weights, model.spec), {
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
