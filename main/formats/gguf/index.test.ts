/** @file A GGUF file opened as a model: config, weights under their Hugging Face names, tokenizer, kind. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ggufBytes, type GgufParts, type TensorInfo, type Value } from '../../../test/support/gguf.ts';
import type { ModelFiles } from '../model.ts';
import { openGguf } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-gguf-'));
const opened: ModelFiles[] = [];
afterAll(async () => {
  await Promise.all(opened.map((model) => model.close()));
  rmSync(folder, { recursive: true, force: true });
});

let files = 0;
async function openParts(parts: GgufParts, name = `model-${files++}.gguf`): Promise<ModelFiles> {
  const path = join(folder, name);
  writeFileSync(path, ggufBytes(parts));
  const model = await openGguf(path);
  opened.push(model);
  return model;
}

const TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', 'a', 'b', 'Ġ', 'ab', 'Ġa', '<tool>', '1'];
const METADATA: Readonly<Record<string, Value>> = {
  'general.architecture': ['string', 'llama'],
  'general.name': ['string', 'Tiny'],
  'general.license': ['string', 'apache-2.0'],
  'llama.block_count': ['uint32', 1],
  'llama.context_length': ['uint32', 32],
  'llama.embedding_length': ['uint32', 8],
  'llama.feed_forward_length': ['uint32', 16],
  'llama.attention.head_count': ['uint32', 2],
  'llama.attention.head_count_kv': ['uint32', 1],
  'llama.attention.layer_norm_rms_epsilon': ['float32', 1e-5],
  'llama.rope.freq_base': ['float32', 100000],
  'llama.rope.dimension_count': ['uint32', 4],
  'tokenizer.ggml.model': ['string', 'gpt2'],
  'tokenizer.ggml.pre': ['string', 'smollm'],
  'tokenizer.ggml.tokens': ['array', 'string', TOKENS],
  'tokenizer.ggml.token_type': ['array', 'int32', [3, 3, 3, 1, 1, 1, 1, 1, 4, 1]],
  'tokenizer.ggml.merges': ['array', 'string', ['a b', 'Ġ a']],
  'tokenizer.ggml.bos_token_id': ['uint32', 0],
  'tokenizer.ggml.eos_token_id': ['uint32', 0],
};
const metadata = (changes: Readonly<Record<string, Value | undefined>> = {}): (readonly [string, Value])[] =>
  Object.entries({ ...METADATA, ...changes }).flatMap(([key, value]) => (value ? [[key, value] as const] : []));

/** Row i of a matrix is all i. */
const matrix = (name: string, rows: number, columns: number): TensorInfo => ({
  name,
  dimensions: [columns, rows],
  type: 0,
  data: new Uint8Array(Float32Array.from({ length: rows * columns }, (_, i) => Math.floor(i / columns)).buffer),
});
const TENSORS = [
  matrix('token_embd.weight', TOKENS.length, 8),
  matrix('output_norm.weight', 1, 8),
  matrix('blk.0.attn_q.weight', 8, 8),
  matrix('blk.0.attn_k.weight', 4, 8),
  matrix('blk.0.attn_v.weight', 4, 8),
  matrix('blk.0.attn_output.weight', 8, 8),
  matrix('blk.0.ffn_gate.weight', 16, 8),
];
const rowsOf = async (model: ModelFiles, name: string): Promise<number[]> =>
  [...(await model.weights.read(name))].filter((_, i) => i % 8 === 0);

describe('a Llama in a GGUF file', () => {
  it('has the config that transformers writes', async () => {
    const { config } = await openParts({ metadata: metadata(), tensors: TENSORS });
    expect(config).toEqual({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_act: 'silu',
      hidden_size: 8,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 4,
      max_position_embeddings: 32,
      rms_norm_eps: 1e-5,
      rope_theta: 100000,
      vocab_size: 10,
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      bos_token_id: 0,
      eos_token_id: 0,
    });
  });

  it('has its weights under Hugging Face’s names, the rows of q and k in their order', async () => {
    const model = await openParts({ metadata: metadata(), tensors: TENSORS });
    expect(model.weights.names).toEqual([
      'model.embed_tokens.weight',
      'model.norm.weight',
      ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `model.layers.0.self_attn.${name}.weight`),
      'model.layers.0.mlp.gate_proj.weight',
    ]);
    expect(model.weights.info('model.layers.0.self_attn.k_proj.weight')).toEqual({ shape: [4, 8], storage: 'F32' });
    expect(await rowsOf(model, 'model.layers.0.self_attn.q_proj.weight')).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect(await rowsOf(model, 'model.layers.0.self_attn.k_proj.weight')).toEqual([0, 2, 1, 3]);
    expect(await rowsOf(model, 'model.layers.0.self_attn.v_proj.weight')).toEqual([0, 1, 2, 3]);
    await expect(model.weights.read('lm_head.weight')).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
  });

  it('has a head of its own where the file brings one', async () => {
    const model = await openParts({ metadata: metadata(), tensors: [...TENSORS, matrix('output.weight', 10, 8)] });
    expect(model.config['tie_word_embeddings']).toBe(false);
    expect(model.weights.names).toContain('lm_head.weight');
  });

  it('does not read the weights before they are asked for', async () => {
    const path = join(folder, 'large.gguf');
    const rows = 2 ** 27;
    const parts = { metadata: metadata(), tensors: [{ name: 'token_embd.weight', dimensions: [8, rows], type: 0 }] };
    const bytes = ggufBytes(parts);
    writeFileSync(path, bytes);
    truncateSync(path, bytes.length + rows * 32);
    const model = await openGguf(path);
    opened.push(model);
    expect(model.bytes).toBe(rows * 32);
  });

  it.each<[string, Readonly<Record<string, Value>>, object]>([
    [
      'linear scaling',
      { 'llama.rope.scaling.type': ['string', 'linear'], 'llama.rope.scaling.factor': ['float32', 4] },
      { rope_scaling: { rope_type: 'linear', factor: 4 } },
    ],
    [
      'linear scaling as old files have it',
      { 'llama.rope.scale_linear': ['float32', 2] },
      { rope_scaling: { rope_type: 'linear', factor: 2 } },
    ],
    [
      'rotary positions on a part of the head',
      { 'llama.rope.dimension_count': ['uint32', 2] },
      { partial_rotary_factor: 0.5 },
    ],
    [
      'the same number for each layer',
      { 'llama.feed_forward_length': ['array', 'uint32', [16, 16]] },
      { intermediate_size: 16 },
    ],
    ['another architecture', { 'general.architecture': ['string', 'mamba'] }, { model_type: 'mamba' }],
    ['a mixture of experts', { 'llama.expert_count': ['uint32', 8] }, { model_type: 'mixtral' }],
  ])('tells of %s', async (_, changes, wanted) => {
    expect((await openParts({ metadata: metadata(changes), tensors: TENSORS })).config).toMatchObject(wanted);
  });

  it('is refused with a table of rotary positions that is not Llama 3’s', async () => {
    const attempt = openParts({ metadata: metadata(), tensors: [...TENSORS, matrix('rope_freqs.weight', 1, 2)] });
    await expect(attempt).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
  });

  it.each<[string, Readonly<Record<string, Value | undefined>>, string, RegExp]>([
    ['no architecture', { 'general.architecture': undefined }, 'FORMAT_INVALID', /architecture/],
    ['a tokenizer that is not known', { 'tokenizer.ggml.model': ['string', 'bert'] }, 'MODEL_UNSUPPORTED', /bert/],
    ['a pre-tokenizer that is not known', { 'tokenizer.ggml.pre': ['string', 'gpt-9'] }, 'MODEL_UNSUPPORTED', /gpt-9/],
    [
      'another architecture with its own tokenizer',
      { 'general.architecture': ['string', 'bert'], 'tokenizer.ggml.model': ['string', 'bert'] },
      'MODEL_UNSUPPORTED',
      /architecture bert/,
    ],
    ['no tokenizer', { 'tokenizer.ggml.model': undefined }, 'MODEL_INCOMPLETE', /tokenizer.ggml.model/],
    ['no tokens', { 'tokenizer.ggml.tokens': undefined }, 'MODEL_INCOMPLETE', /tokenizer.ggml.tokens/],
    ['no merges', { 'tokenizer.ggml.merges': undefined }, 'MODEL_INCOMPLETE', /tokenizer.ggml.merges/],
    ['tokens that are numbers', { 'tokenizer.ggml.tokens': ['array', 'uint32', [1, 2]] }, 'FORMAT_INVALID', /tokens/],
    [
      'a token twice',
      { 'tokenizer.ggml.tokens': ['array', 'string', TOKENS.map(() => 'a')] },
      'FORMAT_INVALID',
      /tokens/,
    ],
    [
      'types for other tokens',
      { 'tokenizer.ggml.token_type': ['array', 'int32', [1]] },
      'FORMAT_INVALID',
      /token_type/,
    ],
    ['a merge of one', { 'tokenizer.ggml.merges': ['array', 'string', ['ab']] }, 'FORMAT_INVALID', /merges/],
    [
      'more tokens than embeddings',
      { 'tokenizer.ggml.tokens': ['array', 'string', [...TOKENS, 'x']], 'tokenizer.ggml.token_type': undefined },
      'FORMAT_INVALID',
      /embeddings/,
    ],
    [
      'layers that differ',
      { 'llama.attention.head_count': ['array', 'uint32', [2, 4]] },
      'MODEL_UNSUPPORTED',
      /head_count/,
    ],
    ['values of another width', { 'llama.attention.value_length': ['uint32', 2] }, 'MODEL_UNSUPPORTED', /values/],
  ])('is refused with %s', async (_, changes, code, words) => {
    const attempt = openParts({ metadata: metadata(changes), tensors: TENSORS });
    await expect(attempt).rejects.toMatchObject({
      code,
      message: expect.stringMatching(words),
      hint: expect.stringMatching(/./),
    });
  });

  it('is refused with tensors that would be left out', async () => {
    const attempt = openParts({
      metadata: metadata(),
      tensors: [...TENSORS, matrix('blk.0.attn_q_norm.weight', 1, 8)],
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('attn_q_norm'),
    });
  });

  it('is refused where the rows of q are no whole heads', async () => {
    const model = await openParts({
      metadata: metadata({ 'llama.attention.head_count': ['uint32', 3] }),
      tensors: TENSORS,
    });
    await expect(model.weights.read('model.layers.0.self_attn.q_proj.weight')).rejects.toMatchObject({
      code: 'FORMAT_INVALID',
    });
  });
});

describe('what a GGUF file says of itself', () => {
  const TEMPLATE =
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}';

  it('is an instruct model with a chat template, whose answers end with the turn', async () => {
    const model = await openParts(
      { metadata: metadata({ 'tokenizer.chat_template': ['string', TEMPLATE] }), tensors: TENSORS },
      'Tiny-Instruct.Q4_0.gguf',
    );
    expect(model).toMatchObject({ format: 'gguf', license: 'apache-2.0', name: 'Tiny-Instruct.Q4_0', stopIds: [0, 2] });
    expect(model.kind.value).toBe('instruct');
    expect(model.chatTemplate!.render([{ role: 'user', content: 'a' }], { addGenerationPrompt: true })).toBe(
      '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('is a base model without one', async () => {
    const model = await openParts(
      { metadata: metadata({ 'general.license': undefined }), tensors: TENSORS },
      'tiny.gguf',
    );
    expect(model).toMatchObject({ license: null, chatTemplate: null, stopIds: [0], kind: { value: 'base' } });
  });

  it('keeps special tokens out of people’s text, and parses them in a template’s', async () => {
    const { tokenizer } = await openParts({ metadata: metadata(), tensors: TENSORS });
    expect(tokenizer).toMatchObject({ vocabSize: 10, bosId: 0, eosId: 0 });
    expect(tokenizer.encode('ab<|im_end|> a', { parseSpecial: true })).toEqual([6, 2, 7]);
    expect(tokenizer.encode('ab<|im_end|> a')).not.toContain(2);
    expect(tokenizer.encode('ab<tool>a')).toEqual([6, 8, 3]);
  });

  it('takes an end of turn for a control token though the file forgot to mark it', async () => {
    const types: Value = ['array', 'int32', TOKENS.map(() => 1)];
    const { tokenizer } = await openParts({
      metadata: metadata({ 'tokenizer.ggml.token_type': types }),
      tensors: TENSORS,
    });
    expect([...tokenizer.special.keys()]).toEqual([0, 2]);
  });

  it('says in its tokenizer.json that a text begins with bos, where the file does', async () => {
    const post = async (value: boolean): Promise<unknown> =>
      (
        (
          await openParts({ metadata: metadata({ 'tokenizer.ggml.add_bos_token': ['bool', value] }), tensors: TENSORS })
        ).tokenizer.toJson() as { post_processor: unknown }
      ).post_processor;
    expect(await post(true)).toMatchObject({
      type: 'TemplateProcessing',
      special_tokens: { '<|endoftext|>': { ids: [0] } },
    });
    expect(await post(false)).toBeNull();
  });
});
