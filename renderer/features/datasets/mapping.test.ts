/** @file Columns change places. */
import { expect, it } from 'vitest';
import { placed } from './mapping.ts';

it('a column has one meaning, and a meaning one column', () => {
  const mapping = { instruction: 'q', response: 'a' };
  expect(placed(mapping, 'note', 'response')).toEqual({ instruction: 'q', response: 'note' });
  expect(placed(mapping, 'q', 'text')).toEqual({ response: 'a', text: 'q' });
  expect(placed(mapping, 'q', '')).toEqual({ response: 'a' });
});
