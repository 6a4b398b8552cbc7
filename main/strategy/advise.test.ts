/** @file What would mislead a person: an advice that wavers, that turns against more examples, or that does not fit a plain case. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Advice, type AdviceStrategy } from '../contract/entities.ts';
import { advise } from './advise.ts';
import { tip, withPairs } from './neighbours.ts';
import { Random } from '../engine/random.ts';
import { measureProse } from './prose.ts';
import { checkAnswers, QUESTIONS } from './questions.ts';
import { decide } from './rules.ts';
import { asideOf, measurePairs, noiseOf, proseTokensOf, type Situation } from './situation.ts';
import { measuredWith, modelOf } from './testing.ts';
import { THRESHOLDS } from './thresholds.ts';

const RANK: Readonly<Record<AdviceStrategy, number>> = { 'do-not-tune': 0, 'non-instruct': 1, staged: 2, instruct: 3 };

const situation = (
  answers: Record<string, string>,
  pairs: number,
  proseWords = 0,
  rest: Partial<Situation> = {},
): Situation => ({
  answers,
  pairs: pairs > 0 ? { rows: pairs, different: pairs, variety: 0.8, heldOut: Math.round(pairs / 10) } : null,
  proseTokens: proseTokensOf(proseWords),
  prose: null,
  noise: 0,
  model: null,
  measured: null,
  measuredProse: null,
  ...rest,
});

const answers = fc.record(
  Object.fromEntries(QUESTIONS.map((q) => [q.id, fc.constantFrom(...q.options.map((option) => option.value))])),
  { requiredKeys: [], noNullPrototype: true },
) as fc.Arbitrary<Record<string, string>>;
const anySituation: fc.Arbitrary<Situation> = fc
  .record({
    answers,
    pairs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5000 })),
    words: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3_000_000 })),
    noise: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('base', 'instruct', 'bare', null),
    variety: fc.double({ min: 0.01, max: 1, noNaN: true }),
    able: fc.constantFrom(null, 0.3, 0.95),
    types: fc.double({ min: 50, max: 600, noNaN: true }),
    repeated: fc.double({ min: 0, max: 0.99, noNaN: true }),
  })
  .map(({ answers, pairs, words, noise, kind, variety, able, types, repeated }) => ({
    answers,
    pairs: pairs > 0 ? { rows: pairs, different: pairs, variety, heldOut: Math.round(pairs / 10) } : null,
    proseTokens: proseTokensOf(words),
    prose: words > 0 ? { words, types: words < 1000 ? null : types, repeated } : null,
    noise,
    model: kind && modelOf(kind),
    measured: able === null ? null : measuredWith({ f1: able }),
    measuredProse: null,
  }));

describe('properties', () => {
  it('says the same to the same', () => {
    fc.assert(
      fc.property(anySituation, (each) => {
        expect(advise(structuredClone(each))).toEqual(advise(each));
      }),
    );
  });
  it('never advises instruct less because there are more pairs', () => {
    fc.assert(
      fc.property(anySituation, fc.integer({ min: 0, max: 5000 }), (each, more) => {
        const now = each.pairs?.different ?? 0;
        expect(RANK[decide(withPairs(each, now + more)).strategy]).toBeGreaterThanOrEqual(RANK[decide(each).strategy]);
      }),
      { numRuns: 1000 },
    );
  });
  it('keeps within the contract: places on their scales, bands around them, a second choice that is another one', () => {
    fc.assert(
      fc.property(anySituation, (each) => {
        const advice = Advice.parse(advise(each));
        expect(advice.second.strategy).not.toBe(advice.strategy);
        expect(advice.confidence.value).toBeGreaterThanOrEqual(0.05);
        for (const axis of advice.axes) {
          expect(axis.band[0]).toBeLessThanOrEqual(axis.position);
          expect(axis.band[1]).toBeGreaterThanOrEqual(axis.position);
        }
      }),
    );
  });
  it('names each contradiction between what was said and what was imported', () => {
    fc.assert(
      fc.property(anySituation, (each) => {
        const { answers: said, pairs, proseTokens } = each;
        const named = advise(each).contradictions.join(' ');
        const any = pairs !== null || proseTokens > 0;
        if (any && ['pairs', 'both'].includes(said['material'] ?? '') && !pairs)
          expect(named).toContain('finished examples, and none');
        if (any && ['text', 'both'].includes(said['material'] ?? '') && proseTokens === 0)
          expect(named).toContain('text of your own, and none');
        if (said['flexibility'] === 'yes' && said['variety'] === 'anything')
          expect(named).toContain('people will ask it anything');
        if (each.noise > THRESHOLDS.noise.value) expect(named).toContain('dropped or duplicates');
      }),
    );
  });
  it('names a change that does tip the advice', () => {
    fc.assert(
      fc.property(anySituation, (each) => {
        const other = tip(each);
        expect(decide(other.situation).strategy).toBe(other.strategy);
      }),
    );
  });
});

const ONE_JOB = { task: 'one-job', check: 'yes', change: 'stable', cite: 'no', flexibility: 'yes', variety: 'alike' };
const FIELD = { task: 'field', check: 'by-feel', change: 'stable', cite: 'no', flexibility: 'no', variety: 'varied' };

describe('scenarios', () => {
  const cases: [string, Situation, AdviceStrategy][] = [
    ['a shop with 240 replies and a small handbook', situation(ONE_JOB, 240, 12_000), 'instruct'],
    ['the same, no question answered', situation({}, 240, 12_000), 'instruct'],
    ['a thousand letters and nothing else', situation(ONE_JOB, 1186), 'instruct'],
    ['a book of the field and no examples', situation(FIELD, 0, 175_000), 'non-instruct'],
    ['twenty pages of prose, no question answered', situation({}, 0, 12_000), 'non-instruct'],
    ['the field wanted, a book, and some examples', situation(FIELD, 90, 175_000), 'non-instruct'],
    ['the field wanted, a book, and many examples', situation(FIELD, 400, 175_000), 'staged'],
    [
      'a few jobs in a field, both kinds of data',
      situation({ task: 'unsure', flexibility: 'a-little' }, 300, 200_000),
      'staged',
    ],
    ['one job, many examples, and a book of the field', situation(ONE_JOB, 1186, 175_000), 'staged'],
    ['one job, a handful of examples', situation(ONE_JOB, 12), 'do-not-tune'],
    ['one job, a book, no examples', situation(ONE_JOB, 0, 175_000), 'do-not-tune'],
    [
      'facts that change weekly and must be cited',
      situation({ ...ONE_JOB, change: 'often', cite: 'always' }, 2000),
      'do-not-tune',
    ],
    ['a field whose facts change weekly', situation({ ...FIELD, change: 'often' }, 0, 900_000), 'do-not-tune'],
    ['a field that must be cited', situation({ ...FIELD, cite: 'always' }, 300, 900_000), 'do-not-tune'],
    ['one job with changing facts, in the question', situation({ ...ONE_JOB, change: 'often' }, 600), 'instruct'],
    ['nothing at all', situation({}, 0), 'do-not-tune'],
  ];
  it.each(cases)('%s', (_name, given, expected) => {
    expect(advise(given).strategy).toBe(expected);
  });

  it('says with numbers what is missing', () => {
    expect(advise(situation(ONE_JOB, 140)).missing.join(' ')).toContain('About 360 more different pairs');
    expect(advise(situation(ONE_JOB, 12)).missing.join(' ')).toContain('you have 12');
  });
  it('names contradictions between answers and data, and is less sure for them', () => {
    const said = advise(situation({ ...ONE_JOB, material: 'pairs' }, 0, 20_000));
    expect(said.contradictions).toHaveLength(2);
    expect(said.confidence.value).toBeLessThan(
      advise(situation({ ...ONE_JOB, material: 'text' }, 0, 20_000)).confidence.value,
    );
  });
  it('warns of raw text in an instruct model', () => {
    const given = situation(FIELD, 0, 175_000, { model: modelOf('instruct') });
    expect(advise(given).risk).toContain('tuned to answer');
    expect(advise(given).provisional).toBeNull();
  });
  it('points ahead where there is no data yet', () => {
    const said = advise(situation({ ...ONE_JOB, material: 'pairs' }, 0));
    expect(said.title).toBe('Bring your data first');
    expect(said.summary).toContain('instruct');
  });
});

describe('evidence', () => {
  const row = (index: number, question: string, answer: string): Parameters<typeof rowsOf>[0][number] => ({
    index,
    split: index % 10 === 0 ? 'held-out' : 'train',
    source: 'a.jsonl',
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ],
  });
  async function* rowsOf(
    rows: {
      index: number;
      split: 'train' | 'held-out';
      source: string;
      messages?: { role: 'user' | 'assistant'; content: string }[];
      text?: string;
    }[],
  ) {
    yield* rows;
  }
  it('counts pairs once that differ only in digits, case or punctuation', async () => {
    const found = await measurePairs(
      rowsOf([
        row(0, 'Where is order 17?', 'On its way.'),
        row(1, 'where is order 18', 'On its way'),
        row(2, 'May I return it?', 'Yes.'),
      ]),
    );
    expect(found).toEqual({ rows: 3, different: 2, variety: 2 / 3, heldOut: 1 });
  });
  const documents = (...texts: string[]) =>
    rowsOf(texts.map((text, index) => ({ index, split: 'train' as const, source: 'a.md', text })));
  it('sees prose that repeats, and prose that does not', async () => {
    const words = (from: number, count: number): string =>
      Array.from({ length: count }, (_, i) => `word${from + i}`).join(' ');
    const footer = words(0, 10);
    const fresh = await measureProse(documents(words(100, 1000), words(5000, 1000)), 2000);
    expect(fresh).toEqual({ words: 2000, types: 1000, repeated: 0 });
    // Six sequences a footer and 996 of the rest; of ten footers nine repeat: 54 of 10,020.
    const pages = Array.from({ length: 10 }, (_, i) => [words(1000 * (i + 1), 1000), footer]).flat();
    expect((await measureProse(documents(...pages), 10_100)).repeated).toBeCloseTo(54 / (10 * 996 + 60), 6);
    expect(await measureProse(documents('too short'), 2)).toEqual({ words: 2, types: null, repeated: 0 });
  });
  it('estimates as well when it forgets, and leaves out documents of a large dataset', async () => {
    // 800,000 sequences, every second of which repeats: more than are remembered.
    const random = new Random(5);
    const texts = Array.from({ length: 400 }, () =>
      Array.from({ length: 1004 }, () => `w${random.int(1e6)}`).join(' '),
    );
    const found = await measureProse(documents(...texts, ...texts), 803_200);
    expect(found.repeated).toBeGreaterThan(0.49);
    expect(found.repeated).toBeLessThan(0.51);
    const half = await measureProse(documents(...texts, ...texts), 2_000_000);
    expect(half.words).toBe(401_600);
  });
  it('counts repeated prose once in the advice', () => {
    const both = situation({ task: 'few-jobs', flexibility: 'a-little' }, 600, 300_000);
    expect(decide(both).strategy).toBe('staged');
    expect(decide({ ...both, prose: { words: 300_000, types: 300, repeated: 0.7 } }).strategy).toBe('instruct');
  });
  it('names the imports that were not counted, and no version that another was made from', () => {
    const book = { id: 'a', name: 'Book', parent: null };
    const letters = { id: 'b', name: 'Letters', parent: null };
    const cleaned = { id: 'c', name: 'Letters', parent: 'b' };
    expect(asideOf([cleaned, letters], cleaned)).toEqual([]);
    expect(asideOf([book, cleaned, letters], book)).toEqual([{ counted: 'Book', left: ['Letters'] }]);
    const given = situation(FIELD, 0, 175_000, { aside: asideOf([book, letters], book) });
    expect(advise(given).missing.join(' ')).toContain('“Book” alone was counted');
    expect(advise(given).missing.join(' ')).toContain('“Letters” is another');
  });
  it('takes the share of dropped rows as noise', () => {
    expect(noiseOf([{ rows: 90, dropped: [{ reason: 'x', count: 10, examples: [] }] }])).toBeCloseTo(0.1);
    expect(noiseOf([])).toBe(0);
  });
});

describe('the questions', () => {
  it('are at most seven and refuse answers that are not theirs', () => {
    expect(QUESTIONS.length).toBeLessThanOrEqual(7);
    expect(() => checkAnswers({ task: 'maybe' })).toThrow(/not an answer/);
    expect(() => checkAnswers({ colour: 'red' })).toThrow(/no question/);
  });
  it('have thresholds with a stated basis', () => {
    for (const each of Object.values(THRESHOLDS)) {
      expect(each.from.length).toBeGreaterThan(20);
      // A source is a work with its year, or a guide that is named.
      if (each.basis === 'source') expect(each.from).toMatch(/\b(?:19|20)\d\d\b|guide/);
    }
  });
  it('stand in the decision page as they are', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/decisions/strategy-rules.md'), 'utf8');
    const rows = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
    for (const [name, each] of Object.entries(THRESHOLDS))
      expect(rows.find((cells) => cells[1] === name)?.slice(2, 6)).toEqual([
        String(each.value),
        each.unit,
        each.basis,
        each.from,
      ]);
  });
  it('are the only place that the rules take numbers from', () => {
    const table = readFileSync(join(import.meta.dirname, 'rules.ts'), 'utf8').replaceAll(
      /\/\*[\s\S]*?\*\/|\/\/.*/g,
      '',
    );
    expect(table.match(/(?<![\w'])\d+(?:[._]\d+)?(?![\w'])/g)?.filter((number) => number !== '0') ?? []).toEqual([]);
  });
  it('each have a reason, an example, and at least two answers', () => {
    for (const question of QUESTIONS) {
      expect(question.why.length).toBeGreaterThan(20);
      expect(question.example.length).toBeGreaterThan(20);
      expect(question.options.length).toBeGreaterThan(1);
    }
  });
});
