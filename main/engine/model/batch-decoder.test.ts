/** @file Several documents generated at a time must come out as one by one: whatever their lengths, whoever ends first, and when their cache grows. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../../../test/support/numbers.ts';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { loadBase, Random, type BaseModel } from '../index.ts';
import { argmax } from '../generate/sampler.ts';
import type { Decoder } from '../types.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-batch-'));
let files: ModelFiles;
let base: BaseModel;
beforeAll(async () => {
  files = await openModel(await writeTinyModel(folder));
  base = await loadBase(files.config, files.weights, { threads: 1 });
});
afterAll(async () => {
  await base.release();
  await files.close();
  rmSync(folder, { recursive: true, force: true });
});

const random = new Random(4);
const prompt = (length: number): number[] => Array.from({ length }, () => random.int(256));
/** Logits of every step of a greedy answer. */
async function answer(decoder: Decoder, ids: readonly number[], tokens: number): Promise<Float32Array[]> {
  const all = [(await decoder.prefill(ids)).slice()];
  while (all.length < tokens) all.push((await decoder.step(argmax(all.at(-1)!))).slice());
  await decoder.release();
  return all;
}

describe('a batch', () => {
  it.each(['base', 'adapter', 'window'] as const)('of the %s says what each would say alone', async (which) => {
    // The same weights, of which each token sees the last 48 only.
    const config = {
      ...files.config,
      model_type: 'mistral',
      architectures: ['MistralForCausalLM'],
      sliding_window: 48,
    };
    const windowed = which === 'window' ? await loadBase(config, files.weights, { threads: 1 }) : undefined;
    const lora = base.withLora({ rank: 3, alpha: 6, targetModules: ['q_proj', 'v_proj', 'down_proj'], seed: 1 });
    lora.parameters.values.forEach((_, i, values) => (values[i] = 0.1 * random.normal()));
    const model = which === 'adapter' ? lora : (windowed ?? base);
    // Some end early, one crosses the size at which the cache grows, and more come than there are rows.
    const asked = [
      [5, 12],
      [120, 20],
      [40, 3],
      [1, 30],
      [64, 8],
      [17, 1],
      [200, 6],
    ].map(([length, tokens]) => ({ ids: prompt(length!), tokens: tokens! }));
    const batch = model.batchGenerator(3);
    const together: Float32Array[][] = [];
    const left = asked.entries();
    await Promise.all(
      Array.from({ length: 3 }, async () => {
        for (const [i, { ids, tokens }] of left) together[i] = await answer(batch.open(), ids, tokens);
      }),
    );
    await batch.release();
    for (const [i, { ids, tokens }] of asked.entries()) {
      const alone = await answer(model.generator(), ids, tokens);
      expect(together[i]!.map(argmax)).toEqual(alone.map(argmax));
      for (const [step, logits] of alone.entries())
        expect(relativeError(together[i]![step]!, logits)).toBeLessThan(1e-5);
    }
    await windowed?.release();
  });

  it('has no more rows than it was made for', () => {
    const batch = base.batchGenerator(1);
    batch.open();
    expect(() => batch.open()).toThrow('No more than 1');
  });
});
