/** @file Chat templates in Ollama's language: what is learned of them gives the same conversations, and what cannot be said is refused. test/numerics/ollama.test.ts renders with Go. */
import { describe, expect, it } from 'vitest';
import { chatTemplate } from './chat-template.ts';
import { CONVERSATIONS, modelfile, ollamaTemplate } from './ollama.ts';
import { TEMPLATES } from '../../test/fixtures/templates.ts';

const tokens = { bosToken: '<s>', eosToken: '</s>' };

describe('a chat template for Ollama', () => {
  it.each(Object.entries(TEMPLATES))('%s is translated', (_, source) => {
    const { conversations, source: go } = ollamaTemplate(chatTemplate(source, tokens), '<s>');
    expect(conversations).toBe(CONVERSATIONS.length);
    expect(go).not.toContain('<s>');
  });

  it('tells the system message that the template has of its own', () => {
    expect(ollamaTemplate(chatTemplate(TEMPLATES.default, tokens), null).system).toBe('You are a test.');
    expect(ollamaTemplate(chatTemplate(TEMPLATES.chatml, tokens), null).system).toBeNull();
  });

  it.each([
    ["{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", 'it changes what is said'],
    ["{{ raise_exception('no system') }}", 'EXPORT_UNSUPPORTED'],
    ["{% for m in messages %}{{ loop.index ~ m['role'] ~ m['content'] ~ '.' }}{% endfor %}", 'comes out otherwise'],
  ])('is refused: %s', (source, why) => {
    try {
      ollamaTemplate(chatTemplate(source, tokens), null);
      expect.unreachable();
    } catch (error) {
      expect(`${String((error as { code: string }).code)} ${String(error)}`).toContain(why);
    }
  });

  it('stands in a Modelfile with its stops', () => {
    const pieces = new Map([
      [7, '<|im_end|>'],
      [8, '</s>'],
    ]);
    const text = modelfile('model.gguf', ollamaTemplate(chatTemplate(TEMPLATES.default, tokens), null), {
      stopIds: [7, 8],
      tokenizer: { piece: (id: number) => pieces.get(id)! } as never,
    });
    expect(parseModelfile(text).map(({ name, value }) => [name, name === 'TEMPLATE' ? '' : value])).toEqual([
      ['FROM', './model.gguf'],
      ['TEMPLATE', ''],
      ['SYSTEM', 'You are a test.'],
      ['PARAMETER', 'stop "<|im_end|>"'],
      ['PARAMETER', 'stop "</s>"'],
    ]);
  });
});

/** Modelfile's grammar: an instruction, a blank, its arguments to the end of the line or within three quotes. */
function parseModelfile(text: string): { name: string; value: string }[] {
  const found: { name: string; value: string }[] = [];
  const line = /([A-Z]+) (?:"""([\s\S]*?)"""|(.*))(?:\n|$)/y;
  while (line.lastIndex < text.length) {
    const match = line.exec(text);
    if (!match) throw new Error(`not a Modelfile at ${line.lastIndex}`);
    found.push({ name: match[1]!, value: match[2] ?? match[3]! });
  }
  return found;
}
