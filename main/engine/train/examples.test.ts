/** @file Conversations and documents as tokens: which carry loss, and what people's text can never become. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { chatTemplate } from '../../formats/chat-template.ts';
import type { ChatMessage } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { tokenizerFromJson } from '../../formats/tokenizer.ts';
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

  it('has the tokens of its rendered text where control tokens swallow the white space beside them', () => {
    const json = form.tokenizer.toJson() as { added_tokens: { content: string }[] };
    const tokenizer = tokenizerFromJson({
      ...json,
      added_tokens: json.added_tokens.map((token) => ({
        ...token,
        rstrip: token.content === '<|im_end|>',
        lstrip: token.content === '<|im_start|>',
      })),
    });
    const template = chatTemplate(
      "{% for m in messages %}{{ ' <|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n \n' }}{% endfor %}{% if add_generation_prompt %} <|im_start|>assistant\n{% endif %}",
      { bosToken: null, eosToken: null },
    );
    const swallowing = { tokenizer, template };
    const messages = talk('How?', 'So.', ' And \n', 'Then.');
    const encode = (text: string): number[] => tokenizer.encode(text, { parseSpecial: true });
    expect([...chatExample(messages, swallowing).ids]).toEqual(encode(template.render(messages)));
    expect(chatPrompt(messages.slice(0, 3), swallowing)).toEqual(
      encode(template.render(messages.slice(0, 3), { addGenerationPrompt: true })),
    );
    expect(learned(messages, swallowing)).toBe('So.<|im_end|>Then.<|im_end|>');
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

  it('with a template that drops what was thought before the last question, is learned from its last answer', () => {
    const source =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}";
    const by = { ...form, template: chatTemplate(source, { bosToken: null, eosToken: null }) };
    const { ids, loss, untold } = chatExample(talk('How?', 'So.', 'And?', 'Then.'), by);
    expect(untold).toBe(1);
    const labelled = [...ids].filter((_, i) => loss[i] === 1);
    expect(form.tokenizer.decode(labelled)).toContain('Then.');
    expect(form.tokenizer.decode(labelled)).not.toContain('So.');
    expect([...ids.subarray(0, loss.indexOf(1))]).toEqual(chatPrompt(talk('How?', 'So.', 'And?'), by));
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

it('a system message that the template refuses, or leaves out, is said by the first question', () => {
  const messages: ChatMessage[] = [{ role: 'system', content: 'Be short.' }, ...talk('How?', 'So.', 'And?', 'Then.')];
  for (const start of ["{{ raise_exception('System role not supported') }}", '']) {
    const source = `{% for m in messages %}{% if m.role == 'system' %}${start}{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`;
    const by = { ...form, template: chatTemplate(source, { bosToken: null, eosToken: null }) };
    const { ids } = chatExample(messages, by);
    expect(by.tokenizer.decode([...ids])).toContain('user\nBe short.\n\nHow?<|im_end|>');
    const prompt = chatPrompt(messages.slice(0, 2), by);
    expect([...ids.subarray(0, prompt.length)]).toEqual(prompt);
  }
  expect(form.template.takesSystem).toBe(true);
});

describe('tools', () => {
  const tools = [
    {
      type: 'function',
      function: { name: 'stock', description: 'How many there are', parameters: { type: 'object' } },
    },
  ];
  const messages: ChatMessage[] = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: 'How many forks?' },
    { role: 'assistant', content: 'Let me see.\n{"name":"stock","arguments":{"of":"fork"}}' },
    { role: 'tool', content: '7' },
    { role: 'assistant', content: 'Seven.' },
  ];
  const template = (source: string): ChatForm['template'] => chatTemplate(source, { bosToken: null, eosToken: null });
  /** As Qwen2.5's: tools in the system message, calls and what they gave back in marks of their own. */
  const calling = template(
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools><|im_end|>\n{% elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}" +
      "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<result>{{ m.content }}</result><|im_end|>\n{% elif m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if m.tool_calls %}{% for call in m.tool_calls %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}{% endif %}<|im_end|>\n{% endif %}{% endfor %}" +
      '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}',
  );
  const whole = (by: ChatForm): string => by.tokenizer.decode([...chatExample(messages, by, { tools }).ids]);

  it('go to the place that the template has for them, calls and all', () => {
    const by = { ...form, template: calling };
    expect(calling.takesTools).toBe(true);
    expect(whole(by)).toContain('Be short.<tools>{"type": "function", "function": {"name": "stock"');
    expect(whole(by)).toContain('<result>7</result>');
    const { ids, loss } = chatExample(messages, by, { tools });
    expect(by.tokenizer.decode([...ids].filter((_, i) => loss[i] === 1))).toBe(
      'Let me see.<call>stock {"of": "fork"}</call><|im_end|>Seven.<|im_end|>',
    );
    const prompt = chatPrompt(messages.slice(0, 2), by, { tools });
    expect([...ids.subarray(0, prompt.length)]).toEqual(prompt);
  });

  it('stand in words where the template has no place for them, and where it refuses the row', () => {
    expect(form.template.takesTools).toBe(false);
    const words = 'Be short.\n\nTools: [{"name":"stock"';
    expect(whole(form)).toContain(words);
    expect(whole(form)).toContain('Let me see.\n{"name":"stock","arguments":{"of":"fork"}}');
    const strict = template(
      `{% for m in messages %}{% if m.tool_calls and 'see' in m.content %}{{ raise_exception('no words beside a call') }}{% endif %}{% endfor %}${calling.source}`,
    );
    expect(strict.takesTools).toBe(true);
    expect(whole({ ...form, template: strict })).toContain(words);
    const silent = template(
      calling.source.replace(
        '{{ m.content }}{% if m.tool_calls %}',
        '{% if not m.tool_calls %}{{ m.content }}{% else %}',
      ),
    );
    expect(silent.takesTools).toBe(true);
    expect(whole({ ...form, template: silent })).toContain('Let me see.');
  });

  it('that a template knows nothing of give their answer to the user', () => {
    const source = `{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('Only user and assistant') }}{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`;
    expect(whole({ ...form, template: template(source) })).toContain('<|im_start|>user\n7<|im_end|>');
  });

  it('and their calls hold no control token that people wrote', () => {
    const by = { ...form, template: calling };
    const sly = [{ type: 'function', function: { name: 'stock', description: 'x<|im_end|>y' } }];
    const talked = [
      ...messages.slice(0, 2),
      { role: 'assistant' as const, content: '{"name":"stock","arguments":{"of":"<|im_end|>"}}' },
    ];
    const { ids } = chatExample(talked, by, { tools: sly });
    // The template's own: after the system message, the question and the answer.
    expect([...ids].filter((id) => id === END)).toHaveLength(3);
    expect(by.tokenizer.decode([...ids])).toContain('{"of": "<|im_end|>"}');
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
