/** @file The scorecard does not call chance a difference, and calls a difference by its name. */
import { describe, expect, it } from 'vitest';
import { Random } from '../engine/random.ts';
import { compareLosses, sentenceOf } from './differences.ts';
import { scorecardOf, type ScoredItem } from './scorecard.ts';
import { holm, holmByAxes, signFlip } from './significance.ts';

const items = (scores: readonly (readonly number[])[]): ScoredItem[] =>
  scores.map((of, i) => ({
    id: `item-${i}`,
    prompt: 'p',
    expected: 'e',
    answers: of.map((score) => ({ text: 't', score, why: 'w' })),
  }));
/** Losses of two models that differ by chance; rows differ in length and in how hard they are, models in what they make of them. */
function sameBut(random: Random, count: number): ReturnType<typeof compareLosses> {
  const rows = Array.from({ length: count }, () => ({ count: 5 + random.int(60), hard: 1 + 3 * random.next() }));
  return compareLosses(
    [0, 1].map(() => rows.map((row) => ({ count: row.count, sum: row.count * (row.hard + 0.2 * random.normal()) }))),
  );
}
const coin = (random: Random, share: number): number => Number(random.next() < share);

describe('the sign-flip test', () => {
  it('is exact where few differ', () => {
    expect(signFlip([1, 1, 1, 0, 0])).toBeCloseTo(2 / 8, 12);
    expect(signFlip([])).toBe(1);
    expect(signFlip([0, 0])).toBe(1);
  });
  it('is the sign test where all are of one size (scipy.stats.binomtest)', () => {
    const won = (of: number, all: number): number =>
      signFlip(Array.from({ length: all }, (_, i) => (i < of ? 0.5 : -0.5)));
    expect(won(15, 20)).toBeCloseTo(0.04138946533203125, 12);
    expect(won(60, 100)).toBeCloseTo(0.05688793364098078, 12);
    expect(won(1030, 2000)).toBeCloseTo(0.18706, 4);
  });
  it('tries or draws signs where sizes differ, and both say the same', () => {
    expect(signFlip([3, 2, 1])).toBeCloseTo(2 / 8, 12);
    const few = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, -0.1, 0.2, -0.35, 0.15, -0.25];
    expect(Math.abs(signFlip(few) - signFlip([...few, 1e-13]))).toBeLessThan(0.01);
  });
  it('finds what is there', () => {
    expect(signFlip(Array.from({ length: 40 }, (_, i) => (i < 25 ? 1 : i < 30 ? -1 : 0)))).toBeLessThan(0.01);
  });
});

it('Holm judges the smallest by all, the next by those that are left', () => {
  expect(holm([0.04, 0.01, 0.03])).toEqual([false, true, false]);
  expect(holm([0.01, 0.02, 0.04])).toEqual([true, true, true]);
});

it('Holm lets a hypothesis spend as many errors as it weighs, and leaves its share to the others', () => {
  expect(holm([0.03, 0.03], [3, 1])).toEqual([true, true]);
  expect(holm([0.03, 0.03], [1, 1])).toEqual([false, false]);
  // Of two axes each has half; eight texts can be told apart at all (2 in 256), though fourteen skills stand beside them.
  const skills = Array.from({ length: 14 }, () => 1);
  expect(
    holmByAxes([
      [[1], [1]],
      [[1], skills, [2 / 256]],
    ]).at(-1),
  ).toBe(true);
  expect(
    holmByAxes([
      [[], [0.04]],
      [[], [], []],
    ]),
  ).toEqual([true]);
});

describe('a scorecard', () => {
  it('of two models that differ by their seed calls nothing at all different in 95% of 1,000 trials', () => {
    let called = 0;
    for (let trial = 0; trial < 1000; trial++) {
      const random = new Random(trial + 1);
      const drawn = (count: number): ScoredItem[] =>
        items(
          Array.from({ length: count }, () => {
            const easy = random.next();
            return [coin(random, easy), coin(random, easy)];
          }),
        );
      // As large as the bundled suite, the questions that are asked where nobody says, and a small project's held-out rows.
      const skills = Array.from({ length: 14 }, (_, s) => ({ skill: `skill ${s}`, items: drawn(36) }));
      const goal = { checks: [{ kind: 'exact' }] as const, items: drawn(20) };
      const [rows, texts] = [sameBut(random, 20), sameBut(random, 8)];
      const { card, heldOut } = scorecardOf(['base', 'tuned'], goal, skills, { ...texts, domains: [] }, rows);
      const told = [card.goal!, card.general!, ...card.skills, card.prose!].flatMap(({ verdicts }) => verdicts);
      called += Number([...told, ...heldOut].some((verdict) => verdict !== 'no-difference'));
    }
    // 5%, and what 1,000 trials of 5% may show: scipy.stats.binom.ppf(0.975, 1000, 0.05).
    expect(called).toBeLessThanOrEqual(64);
  });

  // Six rows are the fewest by which the test can tell anything; eight are the texts of the prose suite.
  it.each([5, 6, 8, 20, 50])('of losses on %i rows calls one in at most 5% of 1,000 trials', (count) => {
    let called = 0;
    for (let trial = 0; trial < 1000; trial++) {
      const random = new Random(trial + 1);
      called += Number(sameBut(random, count).verdicts[0] !== 'no-difference');
    }
    expect(called).toBeLessThanOrEqual(count < 6 ? 0 : 50);
  });

  it('finds a difference of losses that is there, and which way it goes', () => {
    const random = new Random(7);
    const first = Array.from({ length: 8 }, () => ({ count: 20, sum: 40 + random.normal() }));
    const by = (more: number): typeof first =>
      first.map(({ count, sum }) => ({ count, sum: sum + more + random.next() }));
    expect(compareLosses([first, by(4), by(-5), first]).verdicts).toEqual(['worse', 'better', 'no-difference']);
  });

  it('gives a single row no margin, since it says nothing of others', () => {
    const { differences, verdicts } = compareLosses([[{ count: 20, sum: 40 }], [{ count: 20, sum: 30 }]]);
    const told = { loss: differences[0]!, verdict: verdicts[0]! };
    expect(told.verdict).toBe('no-difference');
    const sentence = sentenceOf('Run 1', 'the base', told, 1);
    expect(sentence).toContain('(−0.500 nats a token, on one held-out row, which gives no margin)');
    expect(sentenceOf('Run 1', 'the base', told, 2)).toContain('± 0.000');
  });

  it('says what was gained and what it cost, in points', () => {
    const random = new Random(3);
    const with_ = (count: number, base: number, tuned: number): ScoredItem[] =>
      items(Array.from({ length: count }, () => [coin(random, base), coin(random, tuned)]));
    const { card } = scorecardOf(
      ['the base', 'Run 1'],
      { checks: [{ kind: 'number' }], items: with_(60, 0.2, 0.8) },
      [
        { skill: 'arithmetic', items: with_(60, 0.9, 0.3) },
        { skill: 'grammar', items: with_(60, 0.6, 0.6) },
      ],
      { losses: [], differences: [{ value: 0.2, low: 0.1, high: 0.3 }], verdicts: ['worse'], ps: [0.008], domains: [] },
      null,
    );
    expect(card.goal!.verdicts).toEqual(['better']);
    expect(card.skills.map(({ verdicts }) => verdicts[0])).toEqual(['worse', 'no-difference']);
    expect(card.sentences[0]).toMatch(
      /^Run 1 is better at your task than the base: \+\d+ points \(\+\d+ to \+\d+\)\. On general skills .* Lost: arithmetic −\d+ points .* On other text its loss rose: \+0\.200 nats a token \(\+0\.100 to \+0\.300\)/,
    );
  });

  it('has a margin where all came out alike: what was not seen once in n may still be there', () => {
    const none = Array.from({ length: 20 }, () => [0, 0]);
    const exact = { checks: [{ kind: 'exact' }] as const, items: items(none) };
    const { goal } = scorecardOf(['base', 'Run 1'], exact, [], null, null).card;
    // Clopper and Pearson's upper limit of 0 in 20 (scipy.stats.binomtest(0, 20).proportion_ci()).
    expect(goal!.scores[1]).toMatchObject({ value: 0, low: 0 });
    expect(goal!.scores[1]!.high).toBeCloseTo(0.16843347098308536, 10);
    expect(goal!.differences[0]!.low).toBeCloseTo(-0.16843347098308536, 10);
    expect(goal!.verdicts).toEqual(['no-difference']);
  });

  it('judges by several checks at once: all of them together, and each by itself', () => {
    const random = new Random(5);
    const both = Array.from({ length: 60 }, (_, i) => {
      const answer = (greets: boolean, ends: boolean): ScoredItem['answers'][number] => ({
        text: 't',
        why: 'w',
        score: Math.min(Number(greets), Number(ends)),
        checks: [Number(greets), Number(ends)],
      });
      const ends = random.next() < 0.5;
      return { id: `i${i}`, prompt: 'p', expected: 'e', answers: [answer(false, ends), answer(true, ends)] };
    });
    const checks = [
      { kind: 'contains', text: 'Dear' },
      { kind: 'contains', text: 'regards' },
    ] as const;
    const { goal } = scorecardOf(['base', 'Run 1'], { checks, items: both }, [], null, null).card;
    expect(goal!.verdicts).toEqual(['better']);
    expect(goal!.checks.map(({ verdicts }) => verdicts[0])).toEqual(['better', 'no-difference']);
    expect(goal!.checks[0]!.differences[0]!.value).toBe(1);
  });
});
