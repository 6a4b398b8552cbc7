/** @file Token ids against llama.cpp itself: the starter model, every pre-tokenizer by name, and SentencePiece. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openGguf } from '../../main/formats/gguf/index.ts';
import { PRE_TOKENIZERS } from '../../main/formats/gguf/pretokenizers.ts';
import { tokenizeWithLlamaCpp, type TokenIds } from '../support/llama-cpp.ts';
import { found, need } from '../support/needs.ts';
import { TOKEN_ROWS } from '../support/token-fixture.ts';
import { byteLevelVocabulary, sentencePieceVocabulary } from '../support/vocabularies.ts';

const TEXTS = TOKEN_ROWS.map(({ text }) => text);
const folder = mkdtempSync(join(tmpdir(), 'fettle-tokens-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function ids(vocabulary: Buffer, texts = TEXTS): Promise<TokenIds> {
  const path = join(folder, 'vocabulary.gguf');
  writeFileSync(path, vocabulary);
  const { tokenizer, close } = await openGguf(path);
  await close();
  return {
    literal: texts.map((text) => tokenizer.encode(text)),
    parsed: texts.map((text) => tokenizer.encode(text, { parseSpecial: true })),
  };
}

function same(got: TokenIds, wanted: TokenIds, name: string): void {
  for (const [i, text] of TEXTS.entries()) {
    const which = `${name}, ${JSON.stringify(text)}`;
    expect(got.literal[i], which).toEqual(wanted.literal[i]);
    expect(got.parsed[i], which).toEqual(wanted.parsed[i]);
  }
}

describe('token ids are llama.cpp’s', () => {
  it('the fixture of SmolLM2 is what llama.cpp says today', (test) => {
    const starter = need(test, 'starter', found.starter);
    const [answer] = tokenizeWithLlamaCpp(need(test, 'llama.cpp', found.llamaCpp), [starter], TEXTS);
    expect(answer).toEqual({
      literal: TOKEN_ROWS.map((row) => row.ids),
      parsed: TOKEN_ROWS.map((row) => row.parsed ?? row.ids),
    });
  });

  it('with every pre-tokenizer', async (test) => {
    const llamaCpp = need(test, 'llama.cpp', found.llamaCpp);
    const names = [...PRE_TOKENIZERS.keys()];
    const vocabularies = names.map((name) => byteLevelVocabulary(name));
    const wanted = tokenizeWithLlamaCpp(llamaCpp, vocabularies, TEXTS);
    for (const [i, name] of names.entries()) same(await ids(vocabularies[i]!), wanted[i]!, name);
    // The vocabulary tells the kinds apart; were they all alike, this would prove nothing.
    const kinds = new Set(PRE_TOKENIZERS.values());
    expect(new Set(wanted.map((answer) => JSON.stringify(answer.literal))).size).toBe(kinds.size);
  });

  it('where control tokens swallow the white space after them, since the model is called Phi-3', async (test) => {
    const llamaCpp = need(test, 'llama.cpp', found.llamaCpp);
    const control = ['<unk>', '<s>', '</s>'];
    const marks = ['<|im_start|>', '<|im_end|>', '<|endoftext|>', ...control];
    const texts = marks.flatMap((mark) => [`a ${mark}\n b`, `${mark}${mark} \t${mark}\n\n`, `${mark} `]);
    const vocabularies = ['Phi-3 Mini', 'My phi3', 'Phi 3'].map((name) =>
      byteLevelVocabulary('gpt-2', { name, control }),
    );
    const wanted = tokenizeWithLlamaCpp(llamaCpp, vocabularies, texts);
    for (const [i, vocabulary] of vocabularies.entries()) expect(await ids(vocabulary, texts)).toEqual(wanted[i]);
    expect(wanted[0]!.parsed).not.toEqual(wanted[2]!.parsed);
  });

  it('with SentencePiece, with and without a blank before the text', async (test) => {
    const llamaCpp = need(test, 'llama.cpp', found.llamaCpp);
    const vocabularies = [true, false].map((prefix) => sentencePieceVocabulary(TEXTS, prefix));
    const wanted = tokenizeWithLlamaCpp(llamaCpp, vocabularies, TEXTS);
    for (const [i, vocabulary] of vocabularies.entries()) same(await ids(vocabulary), wanted[i]!, 'SentencePiece');
  });
});
