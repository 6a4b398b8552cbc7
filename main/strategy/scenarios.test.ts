/** @file Written cases, from clear to borderline: what each person is advised, and what they are told about it. The expectations were written by a maintainer from the literature before the rules were run on them; no outside expert has looked at them yet. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AdviceStrategy, Answers } from '../contract/entities.ts';
import { advise } from './advise.ts';
import { checkAnswers } from './questions.ts';
import type { Situation } from './situation.ts';
import { measuredWith, modelOf } from './testing.ts';

const sentences = z.array(z.string()).default([]);
const Scenario = z.strictObject({
  id: z.string(),
  kind: z.enum(['clear', 'middling', 'borderline']),
  who: z.string(),
  answers: Answers,
  data: z.strictObject({
    pairs: z.int().default(0),
    different: z.int().default(0),
    variety: z.number().default(1),
    heldOut: z.int().default(0),
    proseTokens: z.int().default(0),
    proseTypes: z.number().default(430),
    proseRepeated: z.number().default(0),
    noise: z.number().default(0),
  }),
  /** `bare` is a base model without a chat template. */
  model: z.enum(['base', 'instruct', 'bare']).nullable(),
  measured: z
    .strictObject({ f1: z.number(), low: z.number(), high: z.number(), asked: z.int(), exact: z.int() })
    .nullable(),
  /** Pieces of the sentences that a person must find. */
  expect: z.strictObject({
    strategy: AdviceStrategy,
    title: z.string().optional(),
    second: AdviceStrategy.optional(),
    summary: sentences,
    reasons: sentences,
    missing: sentences,
    risk: sentences,
    contradictions: sentences,
    /** Anywhere in the advice. */
    mentions: sentences,
    provisional: z.null().optional(),
    atMost: z.number().default(1),
  }),
});
type Scenario = z.infer<typeof Scenario>;

const scenarios = z
  .array(Scenario)
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../test/fixtures/strategy/scenarios.json'), 'utf8')));

const situationOf = ({ answers, data, model, measured }: Scenario): Situation => ({
  answers,
  pairs:
    data.pairs > 0
      ? { rows: data.pairs, different: data.different, variety: data.variety, heldOut: data.heldOut }
      : null,
  proseTokens: data.proseTokens,
  prose:
    data.proseTokens > 0
      ? { words: Math.round(data.proseTokens / 1.35), types: data.proseTypes, repeated: data.proseRepeated }
      : null,
  noise: data.noise,
  model: model && modelOf(model),
  measured: measured && measuredWith(measured),
  measuredProse: null,
});

describe.each(['clear', 'middling', 'borderline'] as const)('%s cases', (kind) => {
  it.each(scenarios.filter((each) => each.kind === kind).map((each) => [each.who, each] as const))('%s', (_, each) => {
    checkAnswers(each.answers);
    const advice = advise(situationOf(each));
    const wanted = each.expect;
    expect(advice.strategy).toBe(wanted.strategy);
    expect(advice.title).toContain(wanted.title ?? '');
    expect(advice.second.strategy).toBe(wanted.second ?? advice.second.strategy);
    expect(advice.confidence.value).toBeLessThanOrEqual(wanted.atMost);
    const said = {
      summary: advice.summary,
      reasons: advice.axes
        .flatMap(({ reason, evidence }) => [reason, ...evidence.map(({ label, value }) => `${label}: ${value}`)])
        .join('\n'),
      missing: advice.missing.join('\n'),
      risk: advice.risk,
      contradictions: advice.contradictions.join('\n'),
    };
    for (const part of ['summary', 'reasons', 'missing', 'risk', 'contradictions'] as const)
      for (const piece of wanted[part]) expect(said[part]).toContain(piece);
    for (const piece of wanted.mentions) expect(JSON.stringify(advice)).toContain(piece);
    // What does not contradict itself is not accused of it.
    if (wanted.contradictions.length === 0) expect(advice.contradictions).toEqual([]);
    if (wanted.provisional === null) expect(advice.provisional).toBeNull();
    else if (each.model === null) expect(advice.provisional).toContain('No model is chosen yet');
  });
});

it('there are at least thirty, every advice among them, and names are used once', () => {
  expect(scenarios.length).toBeGreaterThanOrEqual(30);
  expect(new Set(scenarios.map(({ id }) => id)).size).toBe(scenarios.length);
  expect(new Set(scenarios.map((each) => each.expect.strategy))).toEqual(new Set(AdviceStrategy.options));
});
