/** @file Rows through a model's own template and tokenizer: what it sees, which tokens carry loss, what maxLength would cut. */
import type { RenderedRow, TokenStats } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { chatExample, documentExample } from '../engine/train/examples.ts';
import type { Example } from '../engine/types.ts';
import type { ChatTemplate, Tokenizer } from '../formats/model.ts';
import type { StoredRow } from './rows.ts';

export interface TextModel {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
}

/** @throws TEMPLATE_MISSING where a conversation meets a model without a chat template. */
export function exampleOf(row: StoredRow, { tokenizer, template }: TextModel): Example {
  if (row.text !== undefined) return documentExample(row.text, tokenizer);
  if (!template)
    throw new FettleError(
      'TEMPLATE_MISSING',
      'This model has no chat template, so pairs cannot be put into its form.',
      'Choose an instruct model, or tune on prose.',
    );
  return chatExample(row.messages ?? [], { tokenizer, template });
}

/** Shown at most: a page, not a book. */
const SHOWN_TOKENS = 2000;

export function renderRow(row: StoredRow, model: TextModel, maxLength: number): RenderedRow {
  const { ids, loss } = exampleOf(row, model);
  return {
    tokens: Array.from(ids.subarray(0, SHOWN_TOKENS), (id, i) => ({
      id,
      text: model.tokenizer.piece(id),
      loss: loss[i] === 1,
      special: model.tokenizer.special.has(id),
    })),
    total: ids.length,
    labelled: loss.reduce((sum, mark) => sum + mark, 0),
    // Prose is split, not cut.
    cutAt: row.text === undefined && ids.length > maxLength ? maxLength : null,
  };
}

export async function tokenStats(
  rows: AsyncIterable<StoredRow>,
  model: TextModel,
  maxLength: number,
): Promise<TokenStats> {
  const lengths: number[] = [];
  let labelled = 0;
  let truncated = 0;
  for await (const row of rows) {
    const { ids, loss } = exampleOf(row, model);
    lengths.push(ids.length);
    labelled += loss.reduce((sum, mark) => sum + mark, 0);
    if (row.text === undefined && ids.length > maxLength) truncated++;
  }
  lengths.sort((a, b) => a - b);
  return {
    tokens: lengths.reduce((a, b) => a + b, 0),
    labelled,
    longest: lengths.at(-1) ?? 0,
    median: lengths[lengths.length >> 1] ?? 0,
    truncated,
    histogram: histogram(lengths),
  };
}

const BARS = 20;

/** Equal bins from 0 to the longest, `upTo` a round number of tokens. */
function histogram(sorted: readonly number[]): { upTo: number; rows: number }[] {
  const longest = sorted.at(-1) ?? 0;
  const magnitude = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, longest / BARS))));
  const width = Math.max(1, Math.ceil(longest / BARS / magnitude) * magnitude);
  const bins = Array.from({ length: Math.max(1, Math.ceil(longest / width)) }, (_, i) => ({
    upTo: (i + 1) * width,
    rows: 0,
  }));
  for (const length of sorted) bins[Math.max(0, Math.ceil(length / width) - 1)]!.rows++;
  return bins;
}
