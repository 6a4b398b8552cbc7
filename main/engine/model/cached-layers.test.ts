/** @file Programs of several layers over a cache: however many layers there are, of whatever kinds, in every precision of the base. */
import { describe, expect, it } from 'vitest';
import { relativeError } from '../../../test/support/numbers.ts';
import { randomWeights, TINY_CONFIGS } from '../../../test/fixtures/tiny-configs.ts';
import type { HfConfig } from '../../formats/model.ts';
import { loadBase, measureRounding, Random, type BaseModel } from '../index.ts';

const random = new Random(3);
const ids = Int32Array.from({ length: 140 }, () => random.int(96));
/** Tokens that are read at once; the cache grows while the others come. */
const PROMPT = 120;

/** The largest difference between what is said token by token, by itself and in a batch, and what the whole text gives. */
async function apart(base: BaseModel): Promise<number> {
  const whole = await base.logits(ids);
  const vocab = whole.length / ids.length;
  const batch = base.batchGenerator(2);
  const decoders = [base.generator(), batch.open(), batch.open()];
  let worst = 0;
  const look = (at: number, logits: Float32Array): void => {
    worst = Math.max(worst, relativeError(logits, whole.subarray(at * vocab, (at + 1) * vocab)));
  };
  for (const decoder of decoders) look(PROMPT - 1, await decoder.prefill([...ids.subarray(0, PROMPT)]));
  for (let at = PROMPT; at < ids.length; at++) {
    const [alone, ...both] = decoders;
    look(at, await alone!.step(ids[at]!));
    for (const logits of await Promise.all(both.map((each) => each.step(ids[at]!)))) look(at, logits);
  }
  for (const decoder of decoders) await decoder.release();
  await batch.release();
  return worst;
}

const withLayers = (name: string, layers: number): HfConfig => ({
  ...TINY_CONFIGS[name]!,
  num_hidden_layers: layers,
  sliding_window_pattern: 6,
});

describe('a text that is written token by token', () => {
  // One program for all, one of seven twice, a smaller one at the end; kinds that follow each other or take turns.
  it.each([
    ['llama', 6],
    ['llama', 14],
    ['mistral', 13],
    ['qwen2', 9],
    ['gemma2', 4],
    ['gemma3', 13],
  ])('is what the whole gives: %s with %i layers', async (name, layers) => {
    const config = withLayers(name, layers);
    for (const precision of ['fp32', 'fp16'] as const) {
      const base = await loadBase(config, randomWeights(config), { threads: 1, precision });
      expect(await apart(base), precision).toBeLessThan(1e-4);
      await base.release();
    }
  });

  // The head is in 8 bits in both: each row that it multiplies is rounded by itself, one alone in finer steps.
  it.each(['int4', 'int8'] as const)('is nearly what the whole gives in %s', async (precision) => {
    const config = withLayers('qwen3', 7);
    const weights = randomWeights(config);
    const rounding = await measureRounding(config, weights, { threads: 1, precision }, [
      { ids, loss: new Uint8Array(ids.length) },
    ]);
    const base = await loadBase(config, weights, { threads: 1, precision, rounding });
    expect(await apart(base)).toBeLessThan(0.05);
    await base.release();
  });
});
