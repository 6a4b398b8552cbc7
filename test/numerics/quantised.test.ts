/** @file A base kept in fewer bits against the same rounding simulated in PyTorch with float64: logits, loss, gradients. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadBase, measureRounding, Random } from '../../main/engine/index.ts';
import { roundingTensors } from '../../main/engine/quantise/stored.ts';
import { assembleBatch } from '../../main/engine/train/batches.ts';
import type { Example } from '../../main/engine/types.ts';
import { openModel } from '../../main/formats/open.ts';
import { writeAdapter } from '../../main/formats/peft.ts';
import { openSafetensors, writeSafetensors } from '../../main/formats/safetensors.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { relativeError } from '../support/numbers.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';

/**
 * Relative in norm. float32 and float64 differ by an ulp before rounding, so that now and then a number falls on the other
 * step: one of 127 of one number. Most rows of logits see none of that; all together, and the gradients, see some.
 */
const MOST_ROWS = 1e-4;
const ALL_ROWS = 1e-2;
const MOST_GRADIENTS = 1e-2;
const EACH_GRADIENT = 5e-2;
const LOSS = 1e-3;
const LENGTH = 64;

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]!;

describe.each(['int8', 'int4'] as const)('a base in %s', (precision) => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-quantised-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has the logits, the loss and the gradients of the simulation', async (test) => {
    const python = need(test, 'oracle', found.python);
    const path = await writeTinyModel(join(folder, 'model'));
    const { config, weights, close } = await openModel(path);
    const random = new Random(4);
    const example = (): Example => ({
      ids: Int32Array.from({ length: LENGTH }, () => random.int(256)),
      loss: new Uint8Array(LENGTH).fill(1),
    });
    const rounding = await measureRounding(
      config,
      weights,
      { threads: 2, precision },
      Array.from({ length: 6 }, example),
    );
    const base = await loadBase(config, weights, { threads: 2, precision, rounding });
    await close();
    const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
    const model = base.withLora({ rank: 4, alpha: 8, targetModules, seed: 1 });
    const { parameters } = model;
    parameters.values.forEach((_, i, values) => (values[i] = 0.05 * random.normal()));
    const tensors = parameters.entries.map(({ name, shape, offset, size }) => ({
      name,
      shape,
      data: parameters.values.slice(offset, offset + size),
    }));
    await writeAdapter(join(folder, 'adapter'), tensors, {
      rank: 4,
      alpha: 8,
      targetModules,
      baseModel: 'tiny',
      transposed: false,
    });
    await writeSafetensors(join(folder, 'rounding.safetensors'), roundingTensors(rounding));
    const rows = [example(), example()];
    writeFileSync(join(folder, 'request.json'), JSON.stringify({ precision, ids: rows.map(({ ids }) => [...ids]) }));
    const files = ['model', 'adapter', 'rounding.safetensors', 'request.json', 'expected.safetensors'];
    runOracle(
      python,
      'quantised.py',
      files.map((file) => join(folder, file)),
    );
    const expected = await openSafetensors(join(folder, 'expected.safetensors'));

    const logits = await expected.read('logits');
    const { vocab } = model.spec;
    const apart: number[] = [];
    for (const [i, { ids }] of rows.entries()) {
      const got = await model.logits(ids);
      const wanted = logits.subarray(i * got.length, (i + 1) * got.length);
      for (let at = 0; at < got.length; at += vocab)
        apart.push(relativeError(got.subarray(at, at + vocab), wanted.subarray(at, at + vocab)));
      expect(relativeError(got, wanted)).toBeLessThan(ALL_ROWS);
    }
    expect(quantile(apart, 0.7)).toBeLessThan(MOST_ROWS);
    const batch = assembleBatch(
      rows.map((row) => [row]),
      LENGTH,
    );
    parameters.gradients.fill(0);
    const loss = (await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled;
    expect(Math.abs(loss - (await expected.read('loss'))[0]!)).toBeLessThan(LOSS);
    const gradients: number[] = [];
    for (const { name, offset, size } of parameters.entries) {
      const got = parameters.gradients.subarray(offset, offset + size);
      gradients.push(relativeError(got, await expected.read(`grad.${name}`)));
      expect(gradients.at(-1), name).toBeLessThan(EACH_GRADIENT);
    }
    expect(quantile(gradients, 0.5)).toBeLessThan(MOST_GRADIENTS);
    await expected.close();
    await base.release();
  });
});
