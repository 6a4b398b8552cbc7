/** @file A model written as GGUF and read again: the same config, weights, tokens, template and ends; and where it cannot be, a refusal. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { GGUF_TYPES } from '../../contract/export-types.ts';
import { openHuggingFace } from '../huggingface/read.ts';
import type { ModelFiles } from '../model.ts';
import { storedBytes, writeModelGguf } from './export.ts';
import { openGguf } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-gguf-export-'));
const facts = { name: 'A test', license: 'apache-2.0' };
const TEXTS = [
  "It's 12,345 € in total.",
  '  two  blanks\n\nand lines\t',
  'Grüße, 你好 🙂',
  'def f(x):\n    return x ** 2',
];
let model: ModelFiles;
beforeAll(async () => {
  model = await openHuggingFace(await writeTinyModel(join(folder, 'tiny'), { hidden: 256 }));
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a model written as GGUF', () => {
  it('is the same model when it is read again', async () => {
    const path = join(folder, 'f32.gguf');
    await writeModelGguf(path, model, 'f32', facts);
    const again = await openGguf(path);
    for (const key of [
      'hidden_size',
      'intermediate_size',
      'num_hidden_layers',
      'num_attention_heads',
      'num_key_value_heads',
      'head_dim',
      'rms_norm_eps',
      'rope_theta',
      'tie_word_embeddings',
      'vocab_size',
      'max_position_embeddings',
    ])
      expect([key, again.config[key]]).toEqual([key, model.config[key]]);
    expect([...again.weights.names].sort()).toEqual([...model.weights.names].sort());
    for (const name of model.weights.names) {
      expect(again.weights.info(name).shape).toEqual(model.weights.info(name).shape);
      expect(await again.weights.read(name)).toEqual(await model.weights.read(name));
    }
    for (const text of TEXTS) expect(again.tokenizer.encode(text)).toEqual(model.tokenizer.encode(text));
    expect(again.tokenizer.encode('<|im_end|>', { parseSpecial: true })).toEqual([258]);
    expect(again.chatTemplate?.source).toBe(model.chatTemplate?.source);
    expect(again.stopIds).toEqual(model.stopIds);
    expect([again.license, again.tokenizer.bosId, again.tokenizer.eosId]).toEqual(['apache-2.0', 256, 258]);
    await again.close();
  });

  it.each(GGUF_TYPES.filter((type) => type !== 'f32'))(
    '%s comes near it, in the bytes that were told before',
    async (type) => {
      const path = join(folder, `${type}.gguf`);
      const shares: number[] = [];
      await writeModelGguf(path, model, type, facts, (share) => shares.push(share));
      expect(shares).toEqual(shares.toSorted((a, b) => a - b));
      const again = await openGguf(path);
      expect(again.bytes).toBe(storedBytes(model.weights, model.config, type));
      for (const name of model.weights.names) {
        const [wanted, got] = [await model.weights.read(name), await again.weights.read(name)];
        const off = Math.sqrt(
          got.reduce((sum, value, i) => sum + (value - wanted[i]!) ** 2, 0) /
            wanted.reduce((sum, value) => sum + value ** 2, 0),
        );
        expect(off).toBeLessThan(type.includes('4') ? 0.12 : type.includes('5') ? 0.06 : 0.03);
      }
      await again.close();
    },
  );

  it('leaves nothing behind where writing is given up, and overwrites nothing', async () => {
    const path = join(folder, 'given-up.gguf');
    const stop = (share: number): void => {
      if (share > 0.3) throw new Error('enough');
    };
    await expect(writeModelGguf(path, model, 'f16', facts, stop)).rejects.toThrow('enough');
    await writeModelGguf(path, model, 'f16', facts);
    await expect(writeModelGguf(path, model, 'f16', facts)).rejects.toThrow();
  });

  it.each([
    { rope_type: 'linear', factor: 4 },
    {
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 3, original_max_position_embeddings: 256 },
    { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 128, beta_fast: 32, beta_slow: 1 },
  ])('keeps rotary positions scaled by $rope_type', async (scaling) => {
    const path = join(folder, `${scaling.rope_type}-${scaling.factor}.gguf`);
    const config = { ...model.config, rope_theta: 500000, rope_scaling: scaling };
    await writeModelGguf(path, { ...model, config }, 'f32', facts);
    const again = await openGguf(path);
    expect(again.config['rope_scaling']).toEqual(scaling);
    await again.close();
  });

  it('is a model of its window’s length where llama.cpp has no windows, and refused where that is short', async () => {
    const path = join(folder, 'window.gguf');
    const mistral = (window: number | null): ModelFiles => ({
      ...model,
      config: { ...model.config, model_type: 'mistral', max_position_embeddings: 32768, sliding_window: window },
    });
    await writeModelGguf(path, mistral(4096), 'f32', facts);
    const again = await openGguf(path);
    expect(again.config).toMatchObject({ model_type: 'llama', max_position_embeddings: 4096 });
    await again.close();
    await expect(writeModelGguf(join(folder, 'short.gguf'), mistral(128), 'f32', facts)).rejects.toMatchObject({
      code: 'EXPORT_UNSUPPORTED',
      message: expect.stringContaining('128') as unknown,
    });
  });

  it('is refused where llama.cpp has no place for it', async () => {
    const path = join(folder, 'refused.gguf');
    const scaled = { ...model, config: { ...model.config, rope_scaling: { rope_type: 'dynamic', factor: 4 } } };
    await expect(writeModelGguf(path, scaled, 'f32', facts)).rejects.toMatchObject({ code: 'EXPORT_UNSUPPORTED' });
    const odd = { ...model, weights: { ...model.weights, names: [...model.weights.names, 'model.odd.weight'] } };
    await expect(writeModelGguf(path, odd, 'f32', facts)).rejects.toMatchObject({ code: 'EXPORT_UNSUPPORTED' });
  });
});
