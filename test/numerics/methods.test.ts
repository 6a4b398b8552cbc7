/** @file Each method of training against peft and PyTorch on tiny models: logits, gradients, optimiser steps. Made anew by oracle/methods.py. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadBase } from '../../main/engine/index.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { inFile } from '../../main/engine/model/parameters.ts';
import { openSafetensors } from '../../main/formats/safetensors.ts';
import { withAdapter } from '../../main/workers/load.ts';
import type { TunedModel } from '../../main/engine/index.ts';
import { openModelFolder } from '../support/models.ts';
import { found, need } from '../support/needs.ts';
import { expectSameSteps } from '../support/steps.ts';
import { relativeError, worstDifference } from '../support/numbers.ts';
import { batchOf, runOracle } from '../support/oracle.ts';

const Expected = z.object({
  loss: z.number(),
  adamw: z.object({
    learningRate: z.number(),
    beta1: z.number(),
    beta2: z.number(),
    epsilon: z.number(),
    weightDecay: z.number(),
    maxGradNorm: z.number(),
    loraPlusRatio: z.number(),
  }),
  losses: z.array(z.number()),
  gradNorms: z.array(z.number()),
});
/** Absolute, for logits of a few units. */
const LOGITS = 1e-4;
/** Relative in norm, for each gradient. */
const GRADIENT = 1e-3;
/** Absolute, for a loss in nats. */
const LOSS = 1e-3;

const made = mkdtempSync(join(tmpdir(), 'fettle-methods-'));
let ready: (() => void) | undefined;
/** All of them at once, by the first test that needs one; where that fails, it is not tried again. */
function makeAll(python: string): void {
  if (!ready)
    try {
      runOracle(python, 'methods.py', [made]);
      ready = () => undefined;
    } catch (error) {
      ready = () => {
        throw error;
      };
    }
  ready();
}
afterAll(() => rmSync(made, { recursive: true, force: true }));

const METHODS = [
  'rslora',
  'dora',
  'dora-bias',
  'dora-gpt2',
  'saved',
  'saved-tied',
  'full',
  'full-tied',
  'full-qwen3',
  'full-gemma2',
  'full-gemma3',
  'full-phi3',
  'full-gpt2',
];
describe.each(METHODS)('%s', (method) => {
  const opened: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const close of opened.splice(0)) await close();
  });
  const open = async (test: { skip(note?: string): void }) => {
    const python = need(test, 'oracle', found.python);
    makeAll(python);
    const folder = join(made, method);
    const files = await openModelFolder(join(folder, 'model'));
    const base = await loadBase(files.config, files.weights, { threads: 2 });
    const expected = await openSafetensors(join(folder, 'expected.safetensors'));
    opened.push(
      () => base.release(),
      () => files.weights.close(),
      () => expected.close(),
    );
    const model = (await withAdapter(base, join(folder, 'tuned'))) as TunedModel;
    const facts = Expected.parse(JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')));
    const integers = async (tensor: string) => Int32Array.from(await expected.readIntegers(tensor));
    return { files, model, expected, facts, integers };
  };

  it('gives the same logits, merged into the base too', async (test) => {
    const { files, model, expected, integers } = await open(test);
    const [rows, length] = expected.info('ids').shape as [number, number];
    const ids = await integers('ids');
    const wanted = await expected.read('logits');
    const weights = mergedWeights(mergeableOf(model), files.weights, model.spec);
    const merged = await loadBase(files.config, weights, { threads: 2 });
    opened.push(() => merged.release());
    for (const subject of [model, merged])
      for (let row = 0; row < rows; row++) {
        const got = await subject.logits(ids.slice(row * length, (row + 1) * length));
        expect(worstDifference(got, wanted.subarray(row * got.length, (row + 1) * got.length))).toBeLessThan(LOGITS);
      }
  });

  it('gives the same gradient for all that is trained', async (test) => {
    const { model, expected, integers, facts } = await open(test);
    const batch = batchOf(expected.info('ids').shape, await integers('ids'), await integers('labels'));
    const { parameters } = model;
    const sum = await model.accumulate(batch, 1 / batch.labelled);
    expect(Math.abs(sum / batch.labelled - facts.loss)).toBeLessThan(LOSS);
    const wanted = expected.names.filter((tensor) => tensor.startsWith('grad.'));
    expect(parameters.entries.map(({ name }) => `grad.${name}`).sort()).toEqual(wanted.sort());
    for (const entry of parameters.entries) {
      const own = parameters.gradients.subarray(entry.offset, entry.offset + entry.size);
      expect(relativeError(inFile(entry, own), await expected.read(`grad.${entry.name}`)), entry.name).toBeLessThan(
        GRADIENT,
      );
    }
  });

  it('takes the same 20 steps of AdamW', async (test) => {
    const { model, expected, facts } = await open(test);
    await expectSameSteps(model, expected, facts, { loss: LOSS, gradient: GRADIENT });
  });
});
