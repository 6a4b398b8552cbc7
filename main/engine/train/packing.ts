/** @file Examples to rows of at most maxLength tokens: what is cut, what is split, and which examples share a row. */
import type { Example } from '../types.ts';

/** Examples that fit, and what had to be done to them. */
export interface Fitted {
  readonly examples: readonly Example[];
  /** For each fitted example, the index of the one given that it came from. */
  readonly sources: readonly number[];
  /** Given examples that were longer than maxLength and lost their end. */
  readonly truncated: number;
  /** Given examples that were longer than maxLength and became several. */
  readonly split: number;
  /** Given examples left out because none of their remaining tokens carries loss. */
  readonly dropped: number;
}

/** Labels of an example: tokens that carry loss and have something before them to be predicted from. */
export function labelledCount(example: Example): number {
  let count = 0;
  for (let i = 1; i < example.loss.length; i++) count += example.loss[i] ? 1 : 0;
  return count;
}

/**
 * Makes every example at most `maxLength` tokens long.
 * `cut` keeps the first maxLength tokens. `split` makes pieces; each begins with the last token of the one before,
 * which it needs to predict its own first token, so that every token but the document's first is predicted exactly once.
 */
export function fitExamples(given: readonly Example[], maxLength: number, tooLong: 'cut' | 'split'): Fitted {
  const examples: Example[] = [];
  const sources: number[] = [];
  let [truncated, split, dropped] = [0, 0, 0];
  for (const [index, example] of given.entries()) {
    const long = example.ids.length > maxLength;
    if (long && tooLong === 'cut') truncated++;
    if (long && tooLong === 'split') split++;
    const pieces = !long ? [example] : tooLong === 'cut' ? [piece(example, 0, maxLength)] : chunks(example, maxLength);
    const useful = pieces.filter((it) => labelledCount(it) > 0);
    if (useful.length === 0) dropped++;
    for (const it of useful) {
      examples.push(it);
      sources.push(index);
    }
  }
  return { examples, sources, truncated, split, dropped };
}

const piece = (example: Example, start: number, end: number): Example => ({
  ids: example.ids.subarray(start, end),
  loss: example.loss.subarray(start, end),
});

function chunks(example: Example, maxLength: number): Example[] {
  const out: Example[] = [];
  for (let start = 0; start < example.ids.length - 1; start += maxLength - 1)
    out.push(piece(example, start, Math.min(start + maxLength, example.ids.length)));
  return out;
}

/**
 * First-fit decreasing (Johnson 1973): the longest first, each into the first row that still has room.
 * Deterministic: equal lengths keep their order. O(n log n) by a tree of the room left.
 * @param lengths tokens of each example, none above `capacity`.
 * @returns rows as indices into `lengths`; every index is in exactly one row.
 */
export function packRows(lengths: readonly number[], capacity: number): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  let leaves = 1;
  while (leaves < lengths.length) leaves *= 2;
  // room[1] is the root; room[leaves + r] the room left in row r. Every row starts empty, so that a fit always exists.
  const room = new Int32Array(2 * leaves).fill(capacity);
  const rows: number[][] = [];
  for (const index of order) {
    const length = lengths[index]!;
    let node = 1;
    while (node < leaves) node = room[2 * node]! >= length ? 2 * node : 2 * node + 1;
    (rows[node - leaves] ??= []).push(index);
    room[node]! -= length;
    for (node >>= 1; node >= 1; node >>= 1) room[node] = Math.max(room[2 * node]!, room[2 * node + 1]!);
  }
  return rows;
}
