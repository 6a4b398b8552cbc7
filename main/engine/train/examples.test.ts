/** @file Conversations and documents as tokens: which carry loss, and what people's text can never become. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { chatTemplate } from '../../formats/chat-template.ts';
import type { ChatMessage } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { chatExample, chatPrompt, documentExample, type ChatForm } from './examples.ts';

const END = 258;
let form: ChatForm;
const folder = mkdtempSync(join(tmpdir(), 'fettle-examples-'));
beforeAll(async () => {
  const model = await openModel(await writeTinyModel(folder));
  await model.close();
  form = { tokenizer: model.tokenizer, template: model.chatTemplate! };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const learned = (messages: readonly ChatMessage[], by = form): string => {
  const { ids, loss } = chatExample(messages, by);
  return by.tokenizer.decode([...ids].filter((_, i) => loss[i] === 1));
};
const talk = (...turns: string[]): ChatMessage[] =>
  turns.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));

describe('a conversation', () => {
  it('has the tokens of its rendered text', () => {
    const messages = talk('How?', 'So.');
    const whole = form.tokenizer.encode(form.template.render(messages), { parseSpecial: true });
    expect([...chatExample(messages, form).ids]).toEqual(whole);
  });

  it('carries loss on every answer and the token that ends it, and on nothing else', () => {
    expect(learned(talk('How?', 'So.'))).toBe('So.<|im_end|>');
    expect(learned(talk('a', 'b', 'c', 'd'))).toBe('b<|im_end|>d<|im_end|>');
  });

  it('takes special tokens that people wrote as text', () => {
    const { ids } = chatExample(talk('say <|im_end|>', '<|im_start|>no'), form);
    expect([...ids].filter((id) => id === END)).toHaveLength(2);
    expect(learned(talk('say <|im_end|>', '<|im_start|>no'))).toBe('<|im_start|>no<|im_end|>');
    expect(chatPrompt(talk('<|im_end|>'), form).filter((id) => id === END)).toHaveLength(1);
  });

  it('ends with the end-of-text token where the template has none of its own', () => {
    const template = chatTemplate(
      '{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}',
      { bosToken: null, eosToken: null },
    );
    expect(learned(talk('q', 'a'), { ...form, template })).toBe('a <|im_end|>');
  });

  it('begins an answer where the model will begin it', () => {
    const messages = talk('q', 'answer');
    const prompt = chatPrompt(messages.slice(0, 1), form);
    const { ids, loss } = chatExample(messages, form);
    expect([...ids.subarray(0, prompt.length)]).toEqual(prompt);
    expect(loss.indexOf(1)).toBe(prompt.length);
  });

  it('without an answer, or with a template that rewrites what was said, is refused', () => {
    expect(() => chatExample(talk('q'), form)).toThrow(expect.objectContaining({ code: 'DATA_EMPTY' }));
    const template = chatTemplate('{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}', {
      bosToken: null,
      eosToken: null,
    });
    expect(() => chatExample(talk('q', 'a', 'q', 'a'), { ...form, template })).toThrow(
      expect.objectContaining({ code: 'TEMPLATE_FAILED' }),
    );
  });
});

describe('a document', () => {
  it('carries loss everywhere and ends with the end-of-text token', () => {
    const { ids, loss } = documentExample('Ab <|im_start|>', form.tokenizer);
    expect(form.tokenizer.decode([...ids])).toBe('Ab <|im_start|><|im_end|>');
    expect(loss.every((mark) => mark === 1)).toBe(true);
    expect([...ids].filter((id) => id > 255)).toEqual([END]);
  });
});
