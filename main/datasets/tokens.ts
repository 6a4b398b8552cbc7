/** @file Rows through a model's own template and tokenizer: what it sees, which tokens carry loss, what maxLength would cut. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RenderedRow, TokenStats } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { chatExample, documentExample } from '../engine/train/examples.ts';
import type { Example } from '../engine/types.ts';
import type { ChatTemplate, Tokenizer } from '../formats/model.ts';
import { readLines, RowIndex, type StoredRow } from './rows.ts';

export interface TextModel {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
}

/** What a model is shown of a row. */
type ModelRow = Pick<StoredRow, 'messages' | 'text'> & { readonly tools?: StoredRow['tools'] | undefined };

/** @throws TEMPLATE_MISSING where a conversation meets a model without a chat template. */
export function exampleOf(row: ModelRow, { tokenizer, template }: TextModel): Example {
  if (row.text !== undefined) return documentExample(row.text, tokenizer);
  if (!template)
    throw new FettleError(
      'TEMPLATE_MISSING',
      'This model has no chat template, so pairs cannot be put into its form.',
      'Choose an instruct model, or tune on prose.',
    );
  return chatExample(row.messages ?? [], { tokenizer, template }, { tools: row.tools });
}

/** Shown at most: a page, not a book. */
const SHOWN_TOKENS = 2000;

export function renderRow(row: ModelRow, model: TextModel, maxLength: number): RenderedRow {
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

/** Tokens of every row, and how many of them carry loss. */
export interface TokenLengths {
  readonly tokens: Uint32Array;
  readonly labelled: number;
}

/** Where a version keeps what was counted for a model. */
export const lengthsFile = (rows: string, modelHash: string): string =>
  join(dirname(rows), `tokens-${modelHash.slice(0, 16)}.bin`);

/** @throws CANCELLED; then nothing was written. Kept as 4 bytes a row, after 8 bytes for the labelled ones. */
export async function countTokens(
  rows: string,
  file: string,
  model: TextModel,
  { onProgress, cancelled }: { readonly onProgress?: (share: number) => void; readonly cancelled?: () => boolean },
): Promise<void> {
  const { count } = await RowIndex.open(rows);
  const lengths = new Uint32Array(count);
  let labelled = 0;
  for await (const block of readLines(rows)) {
    for (const line of block) {
      const { ids, loss } = exampleOf(line.row(), model);
      lengths[line.index] = ids.length;
      labelled += loss.reduce((sum, mark) => sum + mark, 0);
      if (line.index % 500 !== 0) continue;
      if (cancelled?.()) throw new FettleError('CANCELLED', 'Counting tokens was cancelled.');
      onProgress?.(line.index / count);
    }
  }
  const head = Buffer.alloc(8);
  head.writeDoubleLE(labelled);
  await writeFile(`${file}.part`, Buffer.concat([head, Buffer.from(lengths.buffer)]));
  await rename(`${file}.part`, file);
}

/** Null where nobody has counted yet. */
export async function readLengths(file: string): Promise<TokenLengths | null> {
  const bytes = await readFile(file).catch(() => null);
  if (!bytes || bytes.length < 8) return null;
  return {
    labelled: bytes.readDoubleLE(),
    tokens: new Uint32Array(bytes.buffer.slice(bytes.byteOffset + 8, bytes.byteOffset + bytes.length)),
  };
}

/** @param cut rows longer than maxLength lose their end; documents are split instead. */
export function tokenStats({ tokens, labelled }: TokenLengths, maxLength: number, cut: boolean): TokenStats {
  const sorted = tokens.toSorted();
  return {
    tokens: sorted.reduce((a, b) => a + b, 0),
    labelled,
    longest: sorted.at(-1) ?? 0,
    median: sorted[sorted.length >> 1] ?? 0,
    truncated: cut ? sorted.reduce((count, length) => count + Number(length > maxLength), 0) : 0,
    histogram: histogram(sorted),
  };
}

const BARS = 20;

/** Equal bins from 0 to the longest, `upTo` a round number of tokens. */
function histogram(sorted: Uint32Array): { upTo: number; rows: number }[] {
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
