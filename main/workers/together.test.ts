/** @file Answers that are given several at a time are those that are given one by one; one that fails, or a cancel, ends all of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { generate } from '../engine/generate/generate.ts';
import { Random } from '../engine/index.ts';
import { loadModel, type LoadedModel } from './load.ts';
import { answerAll } from './together.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-together-'));
const random = new Random(6);
/** More than are answered at a time, and some of them over soon. */
const prompts = Array.from({ length: 21 }, (_, i) => ({
  ids: Array.from({ length: 1 + ((i * 37) % 150) }, () => random.int(256)),
  maxTokens: 1 + ((i * 11) % 40),
}));
let model: LoadedModel;
beforeAll(async () => {
  model = await loadModel(await writeTinyModel(folder), 1);
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});
const all = (asked = prompts, more: Partial<Parameters<typeof answerAll>[2]> = {}): ReturnType<typeof answerAll> => {
  const { tokenizer, stopIds } = model.files;
  return answerAll(model.base, asked, { tokenizer, stopIds, tell: () => undefined, ...more });
};
const alone = async (prompt: (typeof prompts)[number]): Promise<unknown> => {
  const { tokenizer, stopIds } = model.files;
  const decoder = model.base.generator();
  const { ids, text, reason } = await generate({ decoder, tokenizer, stopIds, ...prompt });
  await decoder.release();
  return { ids, text, reason };
};

describe('answers given together', () => {
  it('are those given alone, in the order of the prompts, each counted', async () => {
    const told: number[] = [];
    const together = await all(prompts, { tell: (answered) => told.push(answered) });
    for (const [i, prompt] of prompts.entries()) expect(together[i]).toMatchObject((await alone(prompt)) as object);
    expect(told).toEqual([...prompts.map((_, i) => i), prompts.length, prompts.length]);
    expect(await all([])).toEqual([]);
  });

  it('end where one cannot be given, and the model can be asked again', async () => {
    const long = { ids: Array.from({ length: 600 }, () => 1), maxTokens: 1 };
    await expect(all([...prompts, long])).rejects.toMatchObject({ code: 'PROMPT_TOO_LONG' });
    expect(await all(prompts.slice(0, 1))).toMatchObject([await alone(prompts[0]!)]);
  });

  it('end at a cancel, without reading what was not begun', async () => {
    const abort = new AbortController();
    const given: number[] = [];
    await expect(
      all(prompts, {
        signal: abort.signal,
        tell: (answered) => {
          given.push(answered);
          if (answered === 3) abort.abort();
          if (abort.signal.aborted) throw new Error('cancelled');
        },
      }),
    ).rejects.toThrow('cancelled');
    expect(given.length).toBeLessThan(prompts.length);
  });
});
