/** @file Scores of words against rouge-score and SQuAD's definitions, and choices by likelihood against transformers by lm-evaluation-harness's rule. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exactMatch, tokenF1 } from '../../main/evaluation/grade.ts';
import { rougeL } from '../../main/evaluation/rouge.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';

const PAIRS: readonly (readonly [string, string])[] = [
  ['The cat sat on the mat.', 'A cat sat on a mat'],
  ['It costs $9.99, or 10 euros.', '9.99 dollars'],
  ['', 'something'],
  ['the', 'a'],
  ['one two three four five', 'five four three two one'],
  ['Well-known e-mail addresses: a.b@c.de', 'well known email address'],
  [
    'Dear colleague,\n\nthank you for seeing him. Kind regards',
    'Dear colleague, thank you for referring him to us. Regards',
  ],
  ['same same same', 'same'],
  ["It's what they'd said: we've won", 'It is what they had said: we have won'],
  ['snake_case and CamelCase 123abc', 'snake case and camelcase 123 abc'],
];

describe('scores of answers', () => {
  it('are those of trusted implementations', (test) => {
    const python = need(test, 'oracle', found.python);
    const folder = mkdtempSync(join(tmpdir(), 'fettle-grades-'));
    try {
      const [request, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
      writeFileSync(request, JSON.stringify({ pairs: PAIRS }));
      runOracle(python, 'grades.py', [request, answer]);
      const wanted = JSON.parse(readFileSync(answer, 'utf8')) as Record<'rougeL' | 'f1', number[]> & {
        exact: boolean[];
      };
      for (const [i, [said, expected]] of PAIRS.entries()) {
        expect([i, rougeL(said, expected)]).toEqual([i, expect.closeTo(wanted.rougeL[i]!, 9)]);
        expect([i, tokenF1(said, expected)]).toEqual([i, expect.closeTo(wanted.f1[i]!, 9)]);
        expect([i, exactMatch(said, expected)]).toEqual([i, wanted.exact[i]]);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
