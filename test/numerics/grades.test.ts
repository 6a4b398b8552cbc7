/** @file Scores of words against rouge-score and SQuAD's definitions, and choices by likelihood against transformers by lm-evaluation-harness's rule. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exactMatch, tokenF1 } from '../../main/evaluation/grade.ts';
import type { Probe } from '../../main/evaluation/probes.ts';
import { rougeL } from '../../main/evaluation/rouge.ts';
import { loadModel } from '../../main/workers/load.ts';
import { chooseAll, scoreProbes } from '../../main/workers/score.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
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

/** Of the last, letters of two and of four bytes: a character counts once, whatever it takes to write it. */
const CHOICES: readonly { readonly prompt: string; readonly choices: string[] }[] = [
  { prompt: 'The river is', choices: ['wide', 'a kind of bread', 'seven'] },
  { prompt: 'In spring the trees', choices: ['sing', 'are green', 'cost nine pounds'] },
  { prompt: 'Two and two make ', choices: ['four', 'five', 'a river that is wide'] },
  { prompt: 'Sie sagt', choices: ['schön', 'größer als 😀', 'nichts'] },
];
/** Pairs that become one token; the first two join the ends of prompts with the blank before its choice. */
const MERGES = ['s Ġ', 'e Ġ', 'Ġ w', 'i s', 'r e', 'o u'];
/** Nats a character: float32 in both, products in another order. */
const WORTH = 1e-4;

describe('choices by likelihood', () => {
  it('are those of lm-evaluation-harness, also where the prompt’s last token merges with the choice', async (test) => {
    const python = need(test, 'oracle', found.python);
    const folder = mkdtempSync(join(tmpdir(), 'fettle-choices-'));
    const path = await writeTinyModel(join(folder, 'tiny'), { base: true, sizes: { vocab: 259 + MERGES.length } });
    const file = join(path, 'tokenizer.json');
    const tokenizer = JSON.parse(readFileSync(file, 'utf8')) as {
      pre_tokenizer: { use_regex: boolean };
      model: { vocab: Record<string, number>; merges: string[] };
    };
    // Nothing parts words from blanks, so that they merge.
    tokenizer.pre_tokenizer.use_regex = false;
    tokenizer.model.merges = [...MERGES];
    for (const [i, merge] of MERGES.entries()) tokenizer.model.vocab[merge.replace(' ', '')] = 259 + i;
    writeFileSync(file, JSON.stringify(tokenizer));
    const { base, files, close } = await loadModel(path, 1);
    try {
      const [request, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
      writeFileSync(request, JSON.stringify({ model: path, items: CHOICES }));
      runOracle(python, 'choices.py', [request, answer]);
      const wanted = JSON.parse(readFileSync(answer, 'utf8')) as {
        worth: number[][];
        chosen: number[];
        merged: boolean[][];
      };
      expect(wanted.merged.map((each) => each.every(Boolean))).toEqual([true, true, true, false]);
      const probes = CHOICES.map((each, i) => ({
        ...each,
        id: `p${i}`,
        skill: 's',
        kind: 'choice' as const,
        answer: 0,
      }));
      const worth = await chooseAll(base, files.tokenizer, probes, () => undefined);
      for (const [i, each] of worth.entries())
        for (const [c, value] of each.entries())
          expect([i, c, Math.abs(value - wanted.worth[i]![c]!) < WORTH]).toEqual([i, c, true]);
      // And the suite calls the one that is likeliest the answer.
      const right: Probe[] = probes.map((probe, i) => ({ ...probe, answer: wanted.chosen[i]! }));
      const ends = { tokenizer: files.tokenizer, stopIds: files.stopIds, signal: new AbortController().signal };
      const suite = { skills: [{ skill: 's', probes: right }], prose: [] };
      const { skills } = await scoreProbes(base, ends, suite, () => undefined);
      expect(skills[0]!.map(({ text, score }) => [text, score])).toEqual(
        CHOICES.map(({ choices }, i) => [choices[wanted.chosen[i]!], 1]),
      );
    } finally {
      await close();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);
});
