/** @file How large the rows of a dataset are, estimated from their words: enough to choose a recipe before any model is opened. */
import type { StoredRow } from '../datasets/rows.ts';
import { TOKENS_PER_WORD } from '../strategy/thresholds.ts';

export interface DataSize {
  readonly prose: boolean;
  readonly trainRows: number;
  readonly heldOutRows: number;
  /** Estimated tokens of the rows that are trained on. */
  readonly trainTokens: number;
  readonly heldOutTokens: number;
  /** Estimated tokens that 99 of 100 rows stay within. */
  readonly usualLength: number;
  /** Tokens of the longest row by the model's own tokenizer, where they were counted. */
  readonly longest?: number;
}
export interface MeasuredRows extends DataSize {
  /** Those with most words and signs, to be counted; none where not all rows were looked at. */
  readonly longestRows: readonly StoredRow[];
}

/** Role markers and line ends that a chat template adds to a turn. */
const TOKENS_PER_TURN = 6;

/** Of JSON, which has few spaces: four characters a token is usual. */
const TOKENS_PER_CHARACTER = 1 / 4;

/** Rows that the longest by tokens is among, though words and signs tell only about how many a row has. */
const LONGEST_ROWS = 32;

/** So many rows are looked at; of more, the figures are scaled to all. */
const LOOKED_AT = 100_000;

/** @param total rows in all. */
export async function measureRows(rows: AsyncIterable<StoredRow>, total = 0): Promise<MeasuredRows> {
  const lengths: number[] = [];
  let prose = false;
  let heldOutRows = 0;
  let trainTokens = 0;
  let heldOutTokens = 0;
  let longest: { readonly row: StoredRow; readonly size: number }[] = [];
  const keepLongest = (): void => {
    longest = longest.sort((a, b) => b.size - a.size).slice(0, LONGEST_ROWS);
  };
  for await (const row of rows) {
    const tokens = Math.ceil(
      row.text !== undefined
        ? words(row.text) * TOKENS_PER_WORD
        : (row.messages ?? []).reduce(
            (sum, turn) => sum + words(turn.content) * TOKENS_PER_WORD + TOKENS_PER_TURN,
            row.tools ? JSON.stringify(row.tools).length * TOKENS_PER_CHARACTER : 0,
          ),
    );
    prose ||= row.text !== undefined;
    lengths.push(tokens);
    if (row.text === undefined) {
      longest.push({ row, size: tokens + (row.messages ?? []).reduce((sum, turn) => sum + signs(turn.content), 0) });
      if (longest.length >= 2 * LONGEST_ROWS) keepLongest();
    }
    if (row.split === 'train') trainTokens += tokens;
    else {
      heldOutRows += 1;
      heldOutTokens += tokens;
    }
    if (lengths.length === LOOKED_AT) break;
  }
  const scale = Math.max(1, total / Math.max(1, lengths.length));
  const scaled = (count: number): number => Math.round(count * scale);
  lengths.sort((a, b) => a - b);
  keepLongest();
  return {
    prose,
    trainRows: scaled(lengths.length - heldOutRows),
    heldOutRows: scaled(heldOutRows),
    trainTokens: scaled(trainTokens),
    heldOutTokens: scaled(heldOutTokens),
    usualLength: lengths[Math.ceil(lengths.length * 0.99) - 1] ?? 0,
    longestRows: lengths.length < total ? [] : longest.map(({ row }) => row),
  };
}

/** The same data with general data mixed in, as training then reads it. */
export function withRehearsal(data: DataSize, rehearsal: number): DataSize {
  const more = 1 / (1 - rehearsal);
  return { ...data, trainTokens: Math.round(data.trainTokens * more), trainRows: Math.round(data.trainRows * more) };
}

/** Digits and signs, which many tokenizers take one by one. */
const signs = (text: string): number => text.match(/[^\p{L}\s]/gu)?.length ?? 0;
const words = (text: string): number => text.match(/\S+/g)?.length ?? 0;
