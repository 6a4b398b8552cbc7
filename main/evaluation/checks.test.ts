/** @file Checks of answers one by one, and which is proposed for what. Scores of words are held to trusted implementations in test/numerics/grades.test.ts. */
import { describe, expect, it } from 'vitest';
import type { Check } from '../contract/entities.ts';
import { judge, lastNumber, refuseUnfit, suggestCheck } from './checks.ts';

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
    expect(right({ kind: 'choice' }, 'Yes, of course', 'yes')).toBe(true);
    expect(right({ kind: 'choice' }, 'Yesterday', 'yes')).toBe(false);
    expect(right({ kind: 'choice' }, 'can', 'can wait')).toBe(false);
    expect(right({ kind: 'choice' }, 'Version 1.2 it is', 'version 1.2')).toBe(true);
    expect(right({ kind: 'choice' }, '紧急，不能等', '紧急')).toBe(true);
    expect(right({ kind: 'length', least: 6, most: 6 }, '今天下雨了。好')).toBe(true);
    expect(() => judge({ kind: 'pattern', text: '(' }, '', '')).toThrow('no regular expression');
  });

  it('never finds right what nothing was expected for, and refuses it before any model is asked', () => {
    for (const kind of ['choice', 'contains'] as const) {
      expect(right({ kind }, 'anything', ' ')).toBe(false);
      expect(() => refuseUnfit([{ kind }], ['yes', ''])).toThrow('1 of 2 questions have none');
      expect(() => refuseUnfit([{ kind }], ['yes', 'no'])).not.toThrow();
    }
    expect(() => refuseUnfit([{ kind: 'contains', text: 'Dear' }], [''])).not.toThrow();
    expect(suggestCheck(Array.from({ length: 20 }, () => '')).kind).not.toBe('choice');
  });

  it.each([
    ['Russian', 'Уважаемый коллега, спасибо за направление этого пациента.', 'Уважаемый коллега, спасибо за письмо.'],
    ['Greek', 'Αγαπητέ συνάδελφε, ευχαριστώ για την παραπομπή.', 'Αγαπητέ συνάδελφε, ευχαριστώ πολύ.'],
    ['Chinese', '亲爱的同事，感谢您转诊这位患者，他的血压在2024年已经正常。', '亲爱的同事，感谢您的来信。'],
    ['Thai', 'เรียนเพื่อนร่วมงาน ขอบคุณที่ส่งผู้ป่วยรายนี้มา', 'เรียนเพื่อนร่วมงาน ขอบคุณมาก'],
  ])('reads %s by the words shared, and refuses what cannot read it', (_, expected, near) => {
    const check = suggestCheck([expected, expected]);
    expect(check).toEqual({ kind: 'f1' });
    expect(judge(check, expected, expected).score).toBe(1);
    expect(judge(check, near, expected).score).toBeGreaterThan(0.3);
    expect(judge(check, near, expected).score).toBeLessThan(0.9);
    expect(judge(check, 'Nothing of it', expected).score).toBe(0);
    expect(() => refuseUnfit([{ kind: 'rouge-l' }], [expected, expected, 'Dear colleague'])).toThrow('Latin letters');
    expect(() => refuseUnfit([{ kind: 'rouge-l' }], [expected, 'Grüße aus Köln', 'Dear'])).not.toThrow();
  });

  it('is proposed by what is expected', () => {
    const kind = (expected: readonly string[]): string => suggestCheck(expected).kind;
    expect(kind(Array.from({ length: 12 }, (_, i) => `Reasons differ in ${i} ways and words.\n#### ${i}`))).toBe(
      'number',
    );
    expect(kind(Array.from({ length: 20 }, (_, i) => (i % 2 ? 'urgent' : 'can wait')))).toBe('choice');
    expect(kind(['{"a": 1}', '[{"b": 2}]'])).toBe('json');
    expect(kind(['Paris', 'The Nile', 'Mount Etna'])).toBe('exact');
    expect(kind(['巴黎', '尼罗河', '埃特纳火山', 'Москва'])).toBe('exact');
    expect(kind(['Dear colleague, thank you for seeing this patient with me today.'])).toBe('rouge-l');
    expect(kind([])).toBe('rouge-l');
  });
});
