/** @file Checks of answers one by one, and which is proposed for what. Scores of words are held to trusted implementations in test/numerics/grades.test.ts. */
import { describe, expect, it } from 'vitest';
import type { Check } from '../contract/entities.ts';
import { judge, lastNumber, suggestCheck } from './checks.ts';

const right = (check: Check, answer: string, expected = ''): boolean => judge(check, answer, expected).score === 1;

describe('a check', () => {
  it('takes the last number, however it is written', () => {
    expect(['It is 1,234.50 in all.', 'from 3 to −7', 'x = 12.', 'none', '#### 42'].map(lastNumber)).toEqual([
      1234.5,
      -7,
      12,
      null,
      42,
    ]);
    expect(right({ kind: 'number' }, 'So 3 + 4 = 7 apples.', '#### 7')).toBe(true);
    expect(right({ kind: 'number' }, 'So 3 + 4 = 7, or 8.', '#### 7')).toBe(false);
    expect(right({ kind: 'number' }, 'I do not know.', '#### 7')).toBe(false);
  });

  it('looks for words, patterns, lengths, JSON and choices', () => {
    expect(right({ kind: 'exact' }, 'The Sea!', 'sea')).toBe(true);
    expect(right({ kind: 'contains', text: 'kind  regards' }, 'With Kind\nRegards, T.')).toBe(true);
    expect(right({ kind: 'contains' }, 'It is Paris, of course.', 'paris')).toBe(true);
    expect(right({ kind: 'pattern', text: '^dear (colleague|sir)' }, 'Dear colleague, thank you')).toBe(true);
    expect(right({ kind: 'length', least: 2, most: 3 }, 'one two three')).toBe(true);
    expect(right({ kind: 'length', most: 2 }, 'one two three')).toBe(false);
    expect(right({ kind: 'json' }, 'Here:\n```json\n{"a": [1, 2]}\n```')).toBe(true);
    expect(right({ kind: 'json' }, '{"a": ')).toBe(false);
    const schema = '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}';
    expect(right({ kind: 'json', text: schema }, '{"age": 54}')).toBe(true);
    expect(right({ kind: 'json', text: schema }, '{"age": "old"}')).toBe(false);
    expect(judge({ kind: 'json', text: schema }, '{}', '').why).toContain('age');
    expect(() => judge({ kind: 'json', text: '{"type": 7' }, '{}', '')).toThrow('schema cannot be read');
    expect(right({ kind: 'choice' }, 'urgent. It cannot wait.', 'Urgent')).toBe(true);
    expect(right({ kind: 'choice' }, 'not urgent', 'urgent')).toBe(false);
    expect(() => judge({ kind: 'pattern', text: '(' }, '', '')).toThrow('no regular expression');
  });

  it('is proposed by what is expected', () => {
    const kind = (expected: readonly string[]): string => suggestCheck(expected).kind;
    expect(kind(Array.from({ length: 12 }, (_, i) => `Reasons differ in ${i} ways and words.\n#### ${i}`))).toBe(
      'number',
    );
    expect(kind(Array.from({ length: 20 }, (_, i) => (i % 2 ? 'urgent' : 'can wait')))).toBe('choice');
    expect(kind(['{"a": 1}', '[{"b": 2}]'])).toBe('json');
    expect(kind(['Paris', 'The Nile', 'Mount Etna'])).toBe('exact');
    expect(kind(['Dear colleague, thank you for seeing this patient with me today.'])).toBe('rouge-l');
    expect(kind([])).toBe('rouge-l');
  });
});
