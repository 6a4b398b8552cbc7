/** @file Token ids of the starter model's GGUF file on 500 varied texts, against those that llama.cpp gave. */
import { describe, expect, it } from 'vitest';
import { found, need } from '../../../test/support/needs.ts';
import { TOKEN_ROWS } from '../../../test/support/token-fixture.ts';
import { openGguf } from './index.ts';

describe('the tokenizer of SmolLM2 in GGUF', () => {
  it('gives llama.cpp’s ids on 500 texts, with special tokens as text and as tokens', async (test) => {
    const model = await openGguf(need(test, 'starter', found.starter));
    try {
      expect(TOKEN_ROWS).toHaveLength(500);
      for (const { text, ids, parsed = ids } of TOKEN_ROWS) {
        expect(model.tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
        expect(model.tokenizer.encode(text, { parseSpecial: true }), JSON.stringify(text)).toEqual(parsed);
      }
    } finally {
      await model.close();
    }
  });
});
