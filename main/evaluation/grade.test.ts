/** @file Grades against numbers worked by hand from SQuAD's definition. */
import { expect, it } from 'vitest';
import { exactMatch, tokenF1 } from './grade.ts';

it('counts the words that two answers share', () => {
  expect(tokenF1('The cat sat.', 'a cat sat')).toBe(1);
  // said: cat on mat (3), wanted: cat sat (2), common 1: precision 1/3, recall 1/2.
  expect(tokenF1('the cat on the mat', 'cat sat')).toBeCloseTo(0.4);
  // A word counts as often as it stands in both.
  expect(tokenF1('no no no', 'no')).toBeCloseTo(0.5);
  expect(tokenF1('', '')).toBe(1);
  expect(tokenF1('', 'x')).toBe(0);
  expect(tokenF1('Größe: 5 mm', 'größe 5mm')).toBeCloseTo(0.4);
  // 他很好 and 他不好: two signs of three, each way.
  expect(tokenF1('他很好。', '他不好')).toBeCloseTo(2 / 3);
  expect(exactMatch('巴黎。', '巴 黎')).toBe(true);
  // Articles are words of their own, not the end of one with a letter beyond English before it.
  expect(exactMatch('niña', 'niñ')).toBe(false);
  expect(exactMatch('Paris.', 'the paris')).toBe(true);
  expect(exactMatch('Paris, France', 'Paris')).toBe(false);
});
