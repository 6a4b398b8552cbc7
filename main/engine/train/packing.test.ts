/** @file Rows of a batch: nothing lost, nothing twice, nothing too long. */
import { describe, expect, it } from 'vitest';
import { Random } from '../random.ts';
import type { Example } from '../types.ts';
import { assembleBatch } from './batches.ts';
import { fitExamples, labelledCount, packRows } from './packing.ts';

const random = new Random(7);
const example = (length: number, share = 1): Example => ({
  ids: Int32Array.from({ length }, () => random.int(1000)),
  loss: Uint8Array.from({ length }, () => (random.next() < share ? 1 : 0)),
});

describe('packing', () => {
  it('puts each example in one row, within its room, and wastes little', () => {
    for (const capacity of [8, 64, 333]) {
      const lengths = Array.from({ length: 500 }, () => 1 + random.int(capacity));
      const rows = packRows(lengths, capacity);
      expect(rows.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
      for (const row of rows) expect(row.reduce((sum, i) => sum + lengths[i]!, 0)).toBeLessThanOrEqual(capacity);
      // First-fit decreasing needs at most 11/9 of the best packing, and one row (Johnson 1973).
      const least = lengths.reduce((a, b) => a + b, 0) / capacity;
      expect(rows.length).toBeLessThanOrEqual(Math.ceil((11 / 9) * least) + 1);
    }
  });

  it('of nothing gives no rows', () => expect(packRows([], 8)).toEqual([]));
});

describe('examples that are too long', () => {
  it('as documents lose no label and repeat none', () => {
    for (const length of [16, 17, 31, 32, 33, 200]) {
      const given = example(length);
      const { examples, split } = fitExamples([given], 16, 'split');
      expect(examples.every(({ ids }) => ids.length <= 16)).toBe(true);
      expect(examples.reduce((sum, it) => sum + labelledCount(it), 0)).toBe(labelledCount(given));
      const predicted = examples.flatMap(({ ids }) => [...ids.subarray(1)]);
      expect(predicted).toEqual([...given.ids.subarray(1)]);
      expect(split).toBe(length > 16 ? 1 : 0);
    }
  });

  it('as conversations keep their beginning, and go where nothing is left to learn', () => {
    const silent: Example = { ids: new Int32Array(40), loss: new Uint8Array(40).fill(1, 30) };
    const fitted = fitExamples([example(40), silent, example(5)], 16, 'cut');
    expect(fitted).toMatchObject({ truncated: 2, dropped: 1, sources: [0, 2] });
  });
});

describe('a batch', () => {
  it('predicts no document from another and no padding at all', () => {
    const rows = [[example(5), example(6)], [example(3)]];
    const { labels, documents, positions, ids, labelled, tokens, length } = assembleBatch(rows, 64);
    expect({ length, tokens, labelled }).toEqual({ length: 32, tokens: 14, labelled: 4 + 5 + 2 });
    for (const [at, label] of labels.entries()) {
      const inside = documents[at]! > 0 && documents[at] === documents[at + 1] && (at + 1) % length !== 0;
      expect(label).toBe(inside ? ids[at + 1] : -1);
    }
    expect([...positions.subarray(0, 12)]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 0]);
  });
});
