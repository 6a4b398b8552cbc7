/** @file People with files and a wish, as written down in test/fixtures/strategy: each gets the advice that an expert would give, with the reasons that count. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdviceStrategy, BaseMeasure } from '../contract/entities.ts';
import { advise } from './advise.ts';
import { checkAnswers } from './questions.ts';
import { proseTokensOf, type Situation } from './situation.ts';

interface Scenario {
  readonly who: string;
  readonly answers: Record<string, string>;
  readonly pairs: number;
  readonly different: number;
  readonly heldOut: number;
  readonly variety: number;
  readonly words: number;
  readonly noise: number;
  readonly model: 'base' | 'instruct' | null;
  /** Token F1 of the model's own answers, where it was measured. */
  readonly f1: number | null;
  readonly expect: AdviceStrategy;
  /** What must be said somewhere in the advice. */
  readonly mentions: readonly string[];
}

const scenarios = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../test/fixtures/strategy/scenarios.json'), 'utf8'),
) as Scenario[];

const measured = (f1: number): BaseMeasure => ({
  model: 'm',
  dataset: 'd',
  at: '2026-01-01T00:00:00Z',
  rows: 20,
  loss: { value: 1, low: 0.9, high: 1.1 },
  f1: { value: f1, low: f1 - 0.04, high: Math.min(1, f1 + 0.04) },
  exact: 0,
  answers: Array.from({ length: 12 }, () => ({ prompt: 'q', expected: 'e', answer: 'a', f1 })),
});

const situationOf = ({
  answers,
  pairs,
  different,
  variety,
  heldOut,
  words,
  noise,
  model,
  f1,
}: Scenario): Situation => ({
  answers,
  pairs: pairs > 0 ? { rows: pairs, different, variety, heldOut } : null,
  proseTokens: proseTokensOf(words),
  noise,
  model: model && { name: 'A model', kind: { value: model, evidence: [] }, hasChatTemplate: model === 'instruct' },
  measured: f1 === null ? null : measured(f1),
});

describe('the advice', () => {
  it('is written down for at least thirty people', () => {
    expect(scenarios.length).toBeGreaterThanOrEqual(30);
    for (const { answers } of scenarios) checkAnswers(answers);
  });

  it.each(scenarios)('$expect: $who', (scenario) => {
    const advice = advise(situationOf(scenario));
    expect(advice.strategy).toBe(scenario.expect);
    const said = JSON.stringify(advice);
    for (const words of scenario.mentions) expect(said).toContain(words);
    expect(advice.axes).toHaveLength(3);
    for (const axis of advice.axes) expect(axis.reason).not.toBe('');
    expect(advice.risk).not.toBe('');
    expect(advice.second.strategy).not.toBe(advice.strategy);
  });
});
