/** @file Text that grows by a token at a time is, after each of them, what the tokenizer makes of all of them at once. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { found, need } from '../../../test/support/needs.ts';
import { TOKEN_ROWS } from '../../../test/support/token-fixture.ts';
import { byteLevelVocabulary, sentencePieceVocabulary } from '../../../test/support/vocabularies.ts';
import { openGguf } from '../../formats/gguf/index.ts';
import type { Tokenizer } from '../../formats/model.ts';
import { tokenizerFromJson } from '../../formats/tokenizer.ts';
import { Random } from '../random.ts';
import { GrowingText } from './text.ts';

const TEXTS = TOKEN_ROWS.map(({ text }) => text);
const folder = mkdtempSync(join(tmpdir(), 'fettle-text-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function inFile(vocabulary: Buffer): Promise<Tokenizer> {
  const path = join(folder, 'vocabulary.gguf');
  writeFileSync(path, vocabulary);
  const { tokenizer, close } = await openGguf(path);
  await close();
  return tokenizer;
}
const wordPieces = (): Tokenizer => {
  const pieces = ['[UNK]', 'un', '##want', '##ed', 'run', '##ning', ',', "'", 't', 'é', '##é'];
  return tokenizerFromJson({
    added_tokens: [],
    post_processor: null,
    normalizer: null,
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: { type: 'WordPiece', unk_token: '[UNK]', vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])) },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  });
};
const TOKENIZERS: Readonly<Record<string, (test: { skip(note?: string): void }) => Promise<Tokenizer> | Tokenizer>> = {
  'of SmolLM2': async (test) => {
    const { tokenizer, close } = await openGguf(need(test, 'starter', found.starter));
    await close();
    return tokenizer;
  },
  'of bytes': () => inFile(byteLevelVocabulary('smollm')),
  'of SentencePiece, with a blank before the text': () => inFile(sentencePieceVocabulary(TEXTS, true)),
  'of SentencePiece, without': () => inFile(sentencePieceVocabulary(TEXTS, false)),
  'of word pieces': wordPieces,
};

describe.each(Object.entries(TOKENIZERS))('a tokenizer %s', (_, open) => {
  it('grows texts and any tokens', async (test) => {
    const tokenizer = await open(test);
    const { vocabSize } = tokenizer;
    const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: true });
    const random = new Random(5);
    const some = TEXTS.filter((_, i) => i % 5 === 0);
    // Any ids: bytes that make no character, special tokens, lone blanks. The first 300 hold bytes and special tokens.
    const anything = Array.from({ length: 60 }, () =>
      Array.from({ length: 40 }, () => random.int(random.next() < 0.5 ? Math.min(300, vocabSize) : vocabSize)),
    );
    for (const ids of [...some.map((text) => tokenizer.encode(text)), ...anything]) {
      const growing = new GrowingText(decode);
      for (const [i, id] of ids.entries())
        expect(growing.push(id), JSON.stringify(ids.slice(0, i + 1))).toBe(decode(ids.slice(0, i + 1)));
    }
  });
});

it('decodes few tokens for each, however long the text is', () => {
  let decoded = 0;
  const growing = new GrowingText((ids) => {
    decoded += ids.length;
    return String.fromCharCode(...ids);
  });
  for (let i = 0; i < 1000; i++) growing.push(97 + (i % 26));
  expect(decoded).toBeLessThan(4000);
});
