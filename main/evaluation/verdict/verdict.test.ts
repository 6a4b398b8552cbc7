/** @file The verdict on a strategy: each rule and each piece of advice by a case a person may be in, and what must never happen. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DifferenceVerdict, Measured } from '../../contract/entities.ts';
import { CHANGES } from './changes.ts';
import { judgeStrategy } from './index.ts';
import { RULES, RULES_AGAINST } from './rules.ts';
import type { Seen } from './seen.ts';

const about = (value: number, half: number): Measured => ({ value, low: value - half, high: value + half });
const goal = (verdict: DifferenceVerdict, before = 0.3, items = 60): NonNullable<Seen['goal']> => ({
  verdict,
  difference: verdict === 'better' ? about(0.31, 0.09) : verdict === 'worse' ? about(-0.2, 0.1) : about(0.03, 0.11),
  before,
  items,
  left: null,
});
const general = (verdict: DifferenceVerdict, value: number, lost: string[] = []): NonNullable<Seen['general']> => ({
  verdict,
  difference: about(value, 0.03),
  lost,
  gained: [],
});
const kept = general('no-difference', -0.01);
const usual: Seen = {
  label: 'Run 1, step 60',
  against: 'SmolLM2',
  strategy: 'instruct',
  toBase: true,
  advised: 'instruct',
  overruled: false,
  answers: { task: 'one-job', flexibility: 'a-little', change: 'stable', cite: 'no' },
  goal: goal('better'),
  loss: 'better',
  general: kept,
  text: null,
  rehearsal: 0,
  epochs: 3,
  learningRate: 0.001,
  maxSteps: null,
  past: null,
  falling: false,
  early: false,
  curve: null,
};
const lost = general('worse', -0.04, ['arithmetic', 'logic']);
const muchLost = general('worse', -0.08, ['arithmetic']);

/** What was measured, the rule that must decide, and the advice that must come. */
const CASES: readonly (readonly [Partial<Seen>, string, readonly string[]])[] = [
  [{}, 'right', ['hand-over']],
  [{ general: lost }, 'right', ['hand-over']],
  [{ past: 40 }, 'right', ['best-checkpoint', 'hand-over']],
  [{ curve: 'helps' }, 'right', ['more-data', 'hand-over']],
  [{ goal: null, loss: null }, 'unmeasured', ['measure-task']],
  [{ answers: { task: 'one-job', change: 'often', cite: 'always' } }, 'look-up', ['look-up']],
  [{ goal: goal('no-difference', 0.92) }, 'already-did', ['prompt', 'more-questions']],
  [{ goal: goal('worse') }, 'goal-worse', ['gentler']],
  [{ goal: null, loss: 'worse', past: 20 }, 'goal-worse', ['best-checkpoint', 'gentler']],
  [{ goal: goal('no-difference', 0.3, 200), early: true, curve: 'unclear' }, 'expects', ['gentler']],
  [{ strategy: 'non-instruct', goal: goal('no-difference') }, 'reads-only', ['examples', 'more-questions']],
  [{ strategy: 'non-instruct', goal: null, advised: 'staged' }, 'reads-first', ['examples', 'measure-curve']],
  [{ strategy: 'non-instruct', goal: null, answers: { task: 'field' } }, 'right', ['hand-over']],
  [{ general: lost, answers: { flexibility: 'no' } }, 'price', ['rehearse']],
  [{ general: lost, answers: { flexibility: 'no' }, rehearsal: 0.2 }, 'price', ['gentler']],
  [{ general: muchLost }, 'large-price', ['rehearse']],
  [{ general: muchLost, answers: { flexibility: 'yes' } }, 'right', ['hand-over']],
  [{ text: 'worse', answers: { flexibility: 'no' } }, 'price', ['rehearse']],
  [{ general: null, answers: { flexibility: 'no' } }, 'unguarded', ['measure-general']],
  [{ general: null }, 'right', ['measure-general', 'hand-over']],
  [{ overruled: true, advised: 'staged' }, 'against-advice', ['hand-over']],
  [{ goal: goal('no-difference') }, 'expects', ['more-questions', 'measure-curve']],
  [{ goal: { ...goal('no-difference'), left: 40 } }, 'expects', ['more-questions', 'measure-curve']],
  [{ goal: { ...goal('no-difference'), left: 0 } }, 'expects', ['more-unseen', 'measure-curve']],
  [{ goal: goal('no-difference', 0.3, 200), falling: true, curve: 'helps' }, 'expects', ['more-epochs', 'more-data']],
  [
    {
      goal: goal('no-difference', 0.3, 200),
      loss: 'no-difference',
      curve: 'hardly',
      overruled: true,
      advised: 'staged',
    },
    'nothing',
    ['as-advised', 'other-data'],
  ],
  [
    { goal: { ...goal('no-difference', 0), difference: about(0, 0.17) } },
    'expects',
    ['softer-check', 'more-questions', 'measure-curve'],
  ],
  [{ toBase: false }, 'better', ['hand-over']],
  [{ toBase: false, general: lost }, 'trade', ['rehearse']],
  [{ toBase: false, goal: goal('worse') }, 'worse', ['gentler']],
  [{ toBase: false, goal: goal('no-difference', 0.3, 200), general: lost }, 'same-but-lost', ['rehearse']],
  [{ goal: goal('no-difference', 0.3, 200), loss: 'worse', curve: 'unclear' }, 'expects-less', ['gentler']],
  [{ toBase: false, goal: goal('no-difference', 0.3, 200) }, 'likelier', []],
  [{ toBase: false, goal: goal('no-difference', 0.3, 200), loss: 'worse' }, 'less-likely', []],
  [{ toBase: false, goal: goal('no-difference', 0.3, 200), loss: 'no-difference' }, 'same', []],
];

describe('the verdict', () => {
  it.each(CASES)('%j: %s', (changed, rule, next) => {
    const made = judgeStrategy({ ...usual, ...changed });
    expect(made.rule).toBe(rule);
    expect(made.next.map(({ id }) => id)).toEqual(next);
  });

  it('has a case for every rule and every piece of advice', () => {
    const rules = [...RULES, ...RULES_AGAINST].map(({ id }) => id);
    expect(new Set(CASES.map(([, rule]) => rule))).toEqual(new Set(rules));
    expect(new Set(CASES.flatMap(([, , next]) => next))).toEqual(new Set(CHANGES.map(({ id }) => id)));
  });

  it('says the figures in one plain sentence', () => {
    expect(judgeStrategy({ ...usual, general: lost }).because).toBe(
      '+31 ± 9 points on your task; −4 ± 3 on general skills, most of it arithmetic. What it lost elsewhere is what you allowed.',
    );
    expect(judgeStrategy({ ...usual, goal: goal('no-difference') }).because).toContain(
      'No difference that we can measure on your task (+3 ± 11 points)',
    );
  });

  it('gives values that a recipe takes', () => {
    const sets = (changed: Partial<Seen>): unknown =>
      judgeStrategy({ ...usual, ...changed }).next.map(({ set }) => set);
    expect(sets({ goal: goal('worse') })).toEqual([{ learningRate: 0.0005 }]);
    const short = { goal: goal('no-difference', 0.3, 200), falling: true, curve: 'unclear' } as const;
    expect(sets(short)).toEqual([{ epochs: 6 }]);
    // Where the steps are limited, epochs would do nothing.
    expect(sets({ ...short, maxSteps: 60 })).toEqual([{ maxSteps: 120 }]);
    expect(sets({ general: muchLost })).toEqual([{ rehearsal: 0.05 }]);
  });

  it('never calls a strategy right that got worse at the goal, or that lost what must be kept', () => {
    const verdict = fc.constantFrom<DifferenceVerdict>('better', 'worse', 'no-difference');
    const some = fc.record({
      goal: fc.option(verdict.map((each) => goal(each))),
      loss: fc.option(verdict),
      general: fc.option(verdict.map((each) => general(each, each === 'worse' ? -0.1 : 0.02))),
      toBase: fc.boolean(),
      strategy: fc.constantFrom('instruct', 'non-instruct', 'staged'),
      overruled: fc.boolean(),
      flexibility: fc.constantFrom('yes', 'a-little', 'no'),
      task: fc.constantFrom('one-job', 'few-jobs', 'field', 'unsure'),
    });
    fc.assert(
      fc.property(some, ({ flexibility, task, strategy, ...rest }) => {
        const seen = { ...usual, ...rest, strategy: strategy as Seen['strategy'], answers: { flexibility, task } };
        const { verdict, title, next } = judgeStrategy(seen);
        const onGoal = seen.goal?.verdict ?? seen.loss;
        if (onGoal !== 'better') expect(verdict).not.toBe('right');
        if (seen.general?.verdict === 'worse' && flexibility === 'no') expect(verdict).not.toBe('right');
        expect(title).not.toBe('');
        expect(next.length).toBeLessThanOrEqual(3);
      }),
    );
  });
});
