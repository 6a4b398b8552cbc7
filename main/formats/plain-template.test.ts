/** @file Conversations with a model that brings no chat template: the plain form, what of it is learned, and that it travels. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { chatExample, chatPrompt, documentExample, textPrompt } from '../engine/train/examples.ts';
import { writeModelFolder } from './huggingface/write.ts';
import type { ModelFiles } from './model.ts';
import { openModel } from './open.ts';
import { conversationTemplate } from './plain-template.ts';
import { tokenizerFromJson } from './tokenizer.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-plain-'));
let base: ModelFiles;
beforeAll(async () => {
  base = await openModel(await writeTinyModel(join(folder, 'base'), { base: true }));
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true, force: true });
});

const talk = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Two?' },
  { role: 'assistant', content: 'Yes.' },
  { role: 'user', content: 'Three?' },
  { role: 'assistant', content: 'No.' },
] as const;

it('learns each answer and the end-of-text token, nothing else', () => {
  expect(base.chatTemplate).toBeNull();
  const { tokenizer } = base;
  const { ids, loss } = chatExample(talk, { tokenizer, template: conversationTemplate(base) });
  expect(tokenizer.decode([...ids])).toBe(
    'Be brief.\n\n### Question\nTwo?\n\n### Answer\nYes.<|endoftext|>\n\n### Question\nThree?\n\n### Answer\nNo.<|endoftext|>\n\n',
  );
  expect(tokenizer.decode([...ids].filter((_, i) => loss[i] === 1))).toBe('Yes.<|endoftext|>No.<|endoftext|>');
  expect(base.stopIds).toContain(tokenizer.eosId);
});

it('asks in the form that was learned', () => {
  const { tokenizer } = base;
  const template = conversationTemplate(base);
  const { ids } = chatExample(talk.slice(0, 3), { tokenizer, template });
  const prompt = chatPrompt(talk.slice(0, 2), { tokenizer, template });
  expect([...ids].slice(0, prompt.length)).toEqual(prompt);
});

it('begins as the tokenizer begins texts, where it does', async () => {
  const json = base.tokenizer.toJson() as object;
  const [id, token] = [256, '<|endoftext|>'];
  const begun = tokenizerFromJson(
    {
      ...json,
      post_processor: {
        type: 'Sequence',
        processors: [
          { type: 'ByteLevel' },
          {
            type: 'TemplateProcessing',
            single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
          },
        ],
      },
    },
    { bosToken: token, eosToken: token },
  );
  expect(base.tokenizer.startIds).toEqual([]);
  expect(begun.startIds).toEqual([id]);
  const template = conversationTemplate({ ...base, tokenizer: begun });
  expect(chatPrompt(talk.slice(0, 2), { tokenizer: begun, template })[0]).toBe(id);
  const document = documentExample('A text.', begun);
  expect([document.ids[0], document.loss[0], document.loss[1]]).toEqual([id, 0, 1]);
  expect(textPrompt('A', begun)).toEqual([id, ...base.tokenizer.encode('A')]);
});

it('travels with what is exported, and a model’s own is never replaced', async () => {
  const out = join(folder, 'out');
  await writeModelFolder(out, { ...base, chatTemplate: conversationTemplate(base) }, { dtype: 'f32' });
  const again = await openModel(out);
  expect(again.chatTemplate?.render(talk)).toBe(conversationTemplate(base).render(talk));
  expect(conversationTemplate(again)).toBe(again.chatTemplate);
  await again.close();
});
