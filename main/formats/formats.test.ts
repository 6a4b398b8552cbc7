/** @file Folders of models and adapters: written and read back, and refused with the reason. */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { FettleError } from '../contract/errors.ts';
import { chatTemplate } from './chat-template.ts';
import { writeModelFolder } from './huggingface/write.ts';
import { kindOf } from './kind.ts';
import { openModel } from './open.ts';
import { readAdapter, scaleOf, writeAdapter } from './peft.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'fettle-formats-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, 'm', name);
const edit = (name: string, change: (json: Record<string, unknown>) => unknown): void =>
  writeFileSync(
    at(name),
    JSON.stringify(change(JSON.parse(readFileSync(at(name), 'utf8')) as Record<string, unknown>)),
  );

describe('a Hugging Face folder', () => {
  beforeEach(() => writeTinyModel(join(folder, 'm')));

  it('says what it is', async () => {
    const model = await openModel(join(folder, 'm'));
    expect(model).toMatchObject({
      format: 'huggingface',
      license: 'apache-2.0',
      stopIds: [258],
      kind: { value: 'instruct' },
    });
    expect(model.tokenizer).toMatchObject({ vocabSize: 259, eosId: 258 });
    expect(model.weights.names).toHaveLength(20);
    await model.close();
  });

  it('is written again in pieces and read back the same', async () => {
    const model = await openModel(join(folder, 'm'));
    const shares: number[] = [];
    const tell = (share: number): unknown => shares.push(share);
    await writeModelFolder(join(folder, 'out'), model, { dtype: 'f32', shardBytes: 50_000, tell });
    // Told before each tensor, from nothing on.
    expect(shares).toHaveLength(model.weights.names.length);
    expect([shares[0], Math.max(...shares) < 1]).toEqual([0, true]);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    const again = await openModel(join(folder, 'out'));
    expect(new Set(again.weights.names)).toEqual(new Set(model.weights.names));
    for (const name of model.weights.names)
      expect(await again.weights.read(name)).toEqual(await model.weights.read(name));
    const text = 'Hello <|im_end|> 🚲';
    expect(again.tokenizer.encode(text)).toEqual(model.tokenizer.encode(text));
    expect(again.chatTemplate?.source).toBe(model.chatTemplate?.source);
    expect(again.stopIds).toEqual(model.stopIds);
    expect(readFileSync(join(folder, 'out/config.json'), 'utf8')).not.toContain(folder);
    await model.close();
    await again.close();
  });

  it('is given up between two tensors', async () => {
    const model = await openModel(join(folder, 'm'));
    const tell = (share: number): void => {
      if (share > 0.5) throw new FettleError('CANCELLED', 'Enough.', 'Begin again.');
    };
    await expect(writeModelFolder(join(folder, 'half'), model, { dtype: 'f32', tell })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    expect(readdirSync(join(folder, 'half'))).toEqual([]);
    await model.close();
  });

  it.each([
    ['without a config', 'MODEL_INCOMPLETE', () => rmSync(at('config.json'))],
    ['with an empty config', 'FILE_EMPTY', () => writeFileSync(at('config.json'), '')],
    ['with a config that is no JSON', 'FORMAT_INVALID', () => writeFileSync(at('config.json'), '{')],
    ['without a tokenizer', 'MODEL_INCOMPLETE', () => rmSync(at('tokenizer.json'))],
    [
      'with a tokenizer of another kind',
      'MODEL_UNSUPPORTED',
      () => edit('tokenizer.json', (json) => ({ ...json, model: { type: 'Strange', vocab: {} } })),
    ],
    ['without weights', 'MODEL_INCOMPLETE', () => rmSync(at('model.safetensors'))],
    ['with pickled weights', 'MODEL_INCOMPLETE', () => renameSync(at('model.safetensors'), at('pytorch_model.bin'))],
    [
      'with weights cut short',
      'FILE_TRUNCATED',
      () => writeFileSync(at('model.safetensors'), readFileSync(at('model.safetensors')).subarray(0, 5000)),
    ],
    [
      'whose index leads outside',
      'FORMAT_INVALID',
      () => {
        rmSync(at('model.safetensors'));
        writeFileSync(
          at('model.safetensors.index.json'),
          JSON.stringify({ weight_map: { a: '../../secret.safetensors' } }),
        );
      },
    ],
  ])('%s is refused', async (_, code, spoil) => {
    spoil();
    await expect(openModel(join(folder, 'm'))).rejects.toMatchObject({ code, hint: expect.any(String) as unknown });
  });

  it('that is no model at all is refused', async () => {
    writeFileSync(join(folder, 'a.txt'), 'hello');
    await expect(openModel(join(folder, 'a.txt'))).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' });
    await expect(openModel(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });
});

describe('an adapter', () => {
  const settings = {
    rank: 2,
    alpha: 4,
    targetModules: ['q_proj'],
    baseModel: '/home/somebody/models/tiny',
    transposed: false,
  };
  const tensors = [
    { name: 'model.layers.0.self_attn.q_proj.lora_A.weight', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  ];

  it('is read back, and names its base without saying where it lay', async () => {
    await writeAdapter(at(''), tensors, settings);
    expect(readFileSync(at('adapter_config.json'), 'utf8')).not.toContain('somebody');
    const adapter = await readAdapter(at(''));
    expect(adapter.lora).toMatchObject({ rank: 2, alpha: 4, targetModules: ['q_proj'] });
    expect(adapter.weights.names).toEqual(['base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight']);
    await adapter.close();
  });

  it.each([
    ['biases', { bias: 'all' }],
    ['whole modules in the blocks', { modules_to_save: ['input_layernorm'] }],
    ['another method', { peft_type: 'IA3' }],
    ['ranks of their own', { rank_pattern: { q_proj: 8 } }],
  ])('with %s is refused by name', async (_, change) => {
    await writeAdapter(at(''), tensors, settings);
    edit('adapter_config.json', (json) => ({ ...json, ...change }));
    await expect(readAdapter(at(''))).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
  });

  it('of rsLoRA has the scale of its own', async () => {
    await writeAdapter(at(''), tensors, settings);
    edit('adapter_config.json', (json) => ({ ...json, use_rslora: true }));
    const adapter = await readAdapter(at(''));
    expect(scaleOf(adapter.lora)).toBeCloseTo(4 / Math.sqrt(2));
    await adapter.close();
  });
});

describe('a chat template', () => {
  const tokens = { bosToken: '<s>', eosToken: '</s>' };

  it('renders turns, and says in its own words what it refuses', () => {
    const template = chatTemplate(
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}{{ m.content }}{% endfor %}",
      tokens,
    );
    expect(template.render([{ role: 'user', content: 'hi' }])).toBe('<s>hi');
    expect(() => template.render([{ role: 'system', content: 'x' }])).toThrow(
      expect.objectContaining({
        code: 'TEMPLATE_FAILED',
        message: expect.stringContaining('no system turns') as unknown,
      }),
    );
  });

  it('that is broken, or reaches for what it must not have, fails', () => {
    expect(() => chatTemplate('{% for %}', tokens)).toThrow(expect.objectContaining({ code: 'TEMPLATE_FAILED' }));
    const reaching = chatTemplate("{{ messages.constructor.constructor('return process')() }}", tokens);
    expect(() => reaching.render([{ role: 'user', content: 'x' }])).toThrow(
      expect.objectContaining({ code: 'TEMPLATE_FAILED' }),
    );
  });
});

describe('base or instruct', () => {
  it.each([
    ['instruct', { name: 'Some-7B-Instruct', template: 't', stopTokens: ['<|im_end|>'] }],
    ['instruct', { name: 'some', template: 't', stopTokens: ['<|im_end|>'] }],
    ['base', { name: 'Some-7B', template: null, stopTokens: ['<|endoftext|>'] }],
    ['base', { name: 'Some-7B-base', template: 't', stopTokens: ['<|endoftext|>'] }],
  ] as const)('%s: %o', (value, clues) => {
    expect(kindOf(clues)).toMatchObject({ value });
  });
});
