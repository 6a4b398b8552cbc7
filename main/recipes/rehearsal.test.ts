/** @file General data mixed in: how much, the same for the same seed, and from which of the two sources. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Example } from '../engine/types.ts';
import type { ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { conversationTemplate } from '../formats/plain-template.ts';
import { generalExamples, rehearse } from './rehearsal.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-rehearsal-'));
let files: ModelFiles;
let general: Example[];
beforeAll(async () => {
  files = await openModel(await writeTinyModel(folder));
  general = await generalExamples({ tokenizer: files.tokenizer, template: conversationTemplate(files) }, true);
});
afterAll(async () => {
  await files.close();
  rmSync(folder, { recursive: true, force: true });
});

const own = Array.from({ length: 200 }, (): Example => ({
  ids: new Int32Array(400).fill(65),
  loss: new Uint8Array(400).fill(1),
}));
const mix = (rehearsal: number, seed = 1, rows: readonly Example[] = own): ReturnType<typeof rehearse> =>
  rehearse(rows, general, { rehearsal, seed, maxLength: 256, strategy: 'non-instruct' });

describe('rehearsal', () => {
  it.each([0.01, 0.05, 0.5])('makes up %d of the tokens that training reads', (share) => {
    // Long rows are split, and each piece but the first begins with one token of the one before.
    const read = 200 * 401;
    const { tokens, examples } = mix(share);
    expect(tokens).toBe(examples.reduce((sum, example) => sum + example.ids.length, 0));
    // To the nearest example.
    expect(Math.abs(tokens - (read * share) / (1 - share))).toBeLessThan(256);
    expect(Math.max(...examples.map((example) => example.ids.length))).toBeLessThanOrEqual(256);
  });

  it('is nothing where none was asked for', () => {
    expect(mix(0)).toEqual({ examples: [], tokens: 0 });
  });

  it('is the same for the same seed and data, and another for another seed', () => {
    expect(mix(0.05)).toEqual(mix(0.05));
    expect(mix(0.05, 2).examples).not.toEqual(mix(0.05).examples);
  });

  it('is answers to requests for a model that has learned to answer, else prose', async () => {
    expect(general.every((example) => example.loss.includes(0) && example.loss.includes(1))).toBe(true);
    const text = { tokenizer: files.tokenizer, template: conversationTemplate(files) };
    const prose = await generalExamples(text, false);
    expect(prose.length).toBeGreaterThan(0);
    expect(prose.every((example) => !example.loss.includes(0))).toBe(true);
  });
});
