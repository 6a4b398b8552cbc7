/** @file Tiny random models of every architecture against transformers, peft and PyTorch: logits, gradients, optimiser steps, cached generation. oracle/tiny_models.py makes them; two Llamas are fixtures as well, for where PyTorch is not at hand (in CI it must be). */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadBase, type BaseModel, type TunedModel } from '../../main/engine/index.ts';
import { AdamW, clipGradients } from '../../main/engine/train/adamw.ts';
import { openModelFolder } from '../support/models.ts';
import { openSafetensors } from '../../main/formats/safetensors.ts';
import { modulesOf } from '../../main/engine/architectures/spec.ts';
import { readAdapter } from '../../main/formats/peft.ts';
import { found, need } from '../support/needs.ts';
import { batchOf, runOracle } from '../support/oracle.ts';
import { relativeError, worstDifference } from '../support/numbers.ts';

const Expected = z.object({
  loss: z.number(),
  adamw: z.object({
    learningRate: z.number(),
    beta1: z.number(),
    beta2: z.number(),
    epsilon: z.number(),
    weightDecay: z.number(),
    maxGradNorm: z.number(),
  }),
  losses: z.array(z.number()),
  gradNorms: z.array(z.number()),
  prompt: z.array(z.number()),
  greedy: z.array(z.number()),
});
const LORA = { rank: 4, alpha: 8, seed: 1 };
/** Absolute, for logits of a few units. */
const LOGITS = 1e-4;
/** Relative in norm, for each gradient. */
const GRADIENT = 1e-3;
/** Absolute, for a loss in nats. */
const LOSS = 1e-3;

const fixtures = join(import.meta.dirname, '../fixtures/tiny-llama');
const FIXTURES = ['tied', 'untied'];
const CASES = [
  ...FIXTURES,
  'llama-linear',
  'llama-llama3',
  'llama-yarn',
  'mistral',
  'qwen2',
  'qwen3',
  'gemma2',
  'gemma3',
  'phi3',
  'phi3-longrope',
  'gpt2',
];

let folder: string | undefined;
/** All of them are made at once, by the first test that needs one. */
const made = (test: Parameters<typeof need>[0]): string => {
  const python = need(test, 'oracle', found.python);
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), 'fettle-tiny-'));
    runOracle(python, 'tiny_models.py', [folder, ...CASES]);
  }
  return folder;
};
afterAll(() => folder && rmSync(folder, { recursive: true, force: true }));

describe.each(FIXTURES)('a tiny Llama with a head that is %s, from the fixtures', (name) =>
  checks(() => join(fixtures, name)),
);
describe.each(CASES)('%s, from live PyTorch', (name) => checks((test) => join(made(test), name)));

function checks(folderOf: (test: { skip(note?: string): void }) => string): void {
  const opened: { release(): Promise<void> }[] = [];
  afterAll(async () => {
    for (const each of opened.splice(0)) await each.release();
  });
  const releasing = <T extends { close(): Promise<void> }>(file: T): T => {
    opened.push({ release: () => file.close() });
    return file;
  };
  const open = async (test: { skip(note?: string): void }) => {
    const folder = folderOf(test);
    const { config, weights } = await openModelFolder(join(folder, 'model'));
    const base = await loadBase(config, weights, { threads: 2 });
    opened.push(base);
    releasing(weights);
    const expected = releasing(await openSafetensors(join(folder, 'expected.safetensors')));
    const facts = Expected.parse(JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')));
    const integers = async (tensor: string) => Int32Array.from(await expected.readIntegers(tensor));
    return { folder, base, expected, facts, integers };
  };
  const adapted = async (base: BaseModel, folder: string): Promise<TunedModel> => {
    const adapter = await readAdapter(join(folder, 'adapter'));
    releasing(adapter);
    expect(adapter.lora).toMatchObject({ rank: LORA.rank, alpha: LORA.alpha });
    expect([...adapter.lora.targetModules].sort()).toEqual(modulesOf(base.spec).sort());
    const model = base.withLora({ ...LORA, targetModules: adapter.lora.targetModules });
    await model.load(adapter.weights);
    return model;
  };

  it('gives the same logits, without and with an adapter', async (test) => {
    const { base, expected, integers, folder } = await open(test);
    const [rows, length] = expected.info('ids').shape as [number, number];
    const ids = await integers('ids');
    const model = await adapted(base, folder);
    for (const [subject, tensor] of [
      [base, 'logits'],
      [model, 'logits.adapter'],
    ] as const) {
      const wanted = await expected.read(tensor);
      for (let row = 0; row < rows; row++) {
        const got = await subject.logits(ids.slice(row * length, (row + 1) * length));
        expect(worstDifference(got, wanted.subarray(row * got.length, (row + 1) * got.length))).toBeLessThan(LOGITS);
      }
    }
  });

  it('gives the same gradient for every matrix of the adapter', async (test) => {
    const { base, expected, integers, folder, facts } = await open(test);
    const model = await adapted(base, folder);
    const batch = batchOf(expected.info('ids').shape, await integers('ids'), await integers('labels'));
    const { parameters } = model;
    parameters.gradients.fill(0);
    const sum = await model.accumulate(batch, 1 / batch.labelled);
    expect(Math.abs(sum / batch.labelled - facts.loss)).toBeLessThan(LOSS);
    const wanted = expected.names.filter((tensor) => tensor.startsWith('grad.'));
    expect(wanted.length).toBe(parameters.entries.length);
    for (const { name, offset, size } of parameters.entries)
      expect(
        relativeError(parameters.gradients.subarray(offset, offset + size), await expected.read(`grad.${name}`)),
        name,
      ).toBeLessThan(GRADIENT);
  });

  it('takes the same 20 steps of AdamW', async (test) => {
    const { base, expected, integers, folder, facts } = await open(test);
    const model = await adapted(base, folder);
    const [steps, ...shape] = expected.info('train.ids').shape as [number, number, number];
    const [ids, labels] = [await integers('train.ids'), await integers('train.labels')];
    const size = ids.length / steps;
    const { learningRate, maxGradNorm, ...options } = facts.adamw;
    const optimiser = new AdamW(model.parameters, options);
    for (let step = 0; step < steps; step++) {
      const cut = (from: Int32Array): Int32Array => from.slice(step * size, (step + 1) * size);
      const batch = batchOf(shape, cut(ids), cut(labels));
      model.parameters.gradients.fill(0);
      const loss = (await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled;
      expect(Math.abs(loss - facts.losses[step]!), `step ${step}`).toBeLessThan(LOSS);
      const norm = clipGradients(model.parameters.gradients, maxGradNorm);
      expect(Math.abs(norm - facts.gradNorms[step]!) / facts.gradNorms[step]!, `norm at step ${step}`).toBeLessThan(
        GRADIENT,
      );
      optimiser.step(learningRate);
    }
  });

  it('continues a prompt with the same tokens, through its cache', async (test) => {
    const { base, folder, facts } = await open(test);
    const model = await adapted(base, folder);
    const decoder = model.generator();
    let logits = await decoder.prefill(facts.prompt);
    const ids: number[] = [];
    while (ids.length < facts.greedy.length) {
      const best = logits.indexOf(Math.max(...logits));
      ids.push(best);
      logits = await decoder.step(best);
    }
    await decoder.release();
    expect(ids).toEqual(facts.greedy);
  });
}
