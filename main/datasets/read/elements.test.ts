/** @file Elements of a list are the same wherever the pieces of it are cut, and depth is counted outside of strings alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Elements, nestsDeeper } from './elements.ts';

const cut = (text: string, size: number, depth: 1 | 2, longest = 1e6): { found: unknown[]; whole: boolean } => {
  const elements = new Elements({ depth, longest });
  const bytes = Buffer.from(text);
  const found: unknown[] = [];
  for (let at = 0; at < bytes.length; at += size)
    for (const element of elements.more(bytes.subarray(at, at + size)))
      found.push(element === 'too long' ? element : JSON.parse(element.toString()));
  return { found, whole: elements.whole };
};
const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

describe('elements', () => {
  it('are those of the list, in any pieces, with blanks or without', () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue()),
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom(undefined, 1, '\t'),
        (rows, size, indent) => {
          const parsed = JSON.parse(JSON.stringify(rows)) as unknown[];
          expect(cut(JSON.stringify(rows, null, indent), size, 1)).toEqual({ found: parsed, whole: true });
          const around = { version: 'a "b" [', data: rows, more: { inner: [1, [2]] } };
          expect(cut(JSON.stringify(around, null, indent), size, 2)).toEqual({ found: parsed, whole: true });
        },
      ),
    );
  });

  it('too long cost themselves, and a list that ends early is seen', () => {
    expect(cut(`[1, "${'x'.repeat(100)}", {"a": [2]}]`, 7, 1, 50).found).toEqual([1, 'too long', { a: [2] }]);
    for (const text of ['[1, 2', '[1, "2', '[{"a": 1}, {"b"'])
      expect(cut(`${text}, {}`.slice(0, text.length), 3, 1).whole).toBe(false);
  });
});

it('depth is counted as it is', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 1, max: 6 }), (value, limit) => {
      const text = JSON.stringify(value);
      // Short texts cannot nest so deep and are not looked at.
      if (text.length >= limit * 2) expect(nestsDeeper(text, limit)).toBe(depthOf(JSON.parse(text)) > limit);
      else expect(depthOf(JSON.parse(text))).toBeLessThanOrEqual(limit);
    }),
  );
});
