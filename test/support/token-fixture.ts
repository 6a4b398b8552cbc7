/** @file 500 varied texts with SmolLM2's token ids as llama.cpp gives them; test/numerics/llama-cpp/make-tokens.mjs writes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface TokenRow {
  readonly text: string;
  /** Special tokens in the text are plain text. */
  readonly ids: readonly number[];
  /** Special tokens known, where that makes a difference. */
  readonly parsed?: readonly number[];
}

export const TOKEN_ROWS = JSON.parse(
  readFileSync(join(import.meta.dirname, '../fixtures/tokens/smollm2.json'), 'utf8'),
) as readonly TokenRow[];
