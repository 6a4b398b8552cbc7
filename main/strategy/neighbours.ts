/** @file How firm an advice is and what would tip it: the same rules asked again with each input a little, or much, different. */
import type { AdviceStrategy } from '../contract/entities.ts';
import { QUESTIONS } from './questions.ts';
import { decide, isAble } from './rules.ts';
import { freshProse, type Situation } from './situation.ts';
import { THRESHOLDS as T, TOKENS_PER_WORD } from './thresholds.ts';

export const count = (value: number): string => Math.round(value).toLocaleString('en-GB');

/** Two digits are as many as an estimate bears. */
export const about = (value: number): string => count(Number(Math.round(value).toPrecision(2)));

export function withPairs(situation: Situation, different: number): Situation {
  const { pairs } = situation;
  return {
    ...situation,
    pairs: pairs
      ? { ...pairs, different, rows: Math.max(different, pairs.rows) }
      : { rows: different, different, variety: 1, heldOut: Math.round(different / 10) },
  };
}
/** With that much prose in which nothing is repeated. */
const withFreshProse = (situation: Situation, proseTokens: number): Situation => ({
  ...situation,
  proseTokens,
  prose: null,
});
const withAnswer = (situation: Situation, id: string, value: string): Situation => ({
  ...situation,
  answers: { ...situation.answers, [id]: value },
});

/** Situations that could as well be the true one: amounts somewhat off, open questions answered either way. */
function plausible(situation: Situation): Situation[] {
  const pairs = situation.pairs?.different ?? 0;
  const { answers } = situation;
  const prose = freshProse(situation);
  const near: Situation[] = [];
  for (const times of [1 / 2, 1 / 1.5, 1.5, 2]) {
    if (pairs > 0) near.push(withPairs(situation, Math.round(pairs * times)));
    if (prose > 0) near.push(withFreshProse(situation, Math.round(prose * times)));
  }
  for (const question of QUESTIONS) {
    if (question.id === 'material') continue;
    const values = question.options.map((option) => option.value);
    const given = answers[question.id];
    if (given === undefined) for (const value of values) near.push(withAnswer(situation, question.id, value));
    else {
      // An answer is sometimes one option off, rarely more.
      const place = values.indexOf(given);
      for (const value of [values[place - 1], values[place + 1]])
        if (value !== undefined) near.push(withAnswer(situation, question.id, value));
    }
  }
  return near;
}

/** Share of the plausible neighbours that get the same advice, 0 to 1. */
export function firmness(situation: Situation): number {
  const { strategy } = decide(situation);
  const near = plausible(situation);
  return near.length === 0 ? 0 : near.filter((each) => decide(each).strategy === strategy).length / near.length;
}

export interface Tip {
  readonly strategy: AdviceStrategy;
  /** Completes “It would win”. */
  readonly change: string;
  readonly situation: Situation;
}

/** The changes a person could make or might have meant, the easiest first. */
function changes(given: Situation): { change: string; situation: Situation }[] {
  // What a model can do already is not changed by data: everything else is asked as if it could not.
  const able = isAble(given);
  const situation = able ? { ...given, measured: null } : given;
  const pairs = situation.pairs?.different ?? 0;
  const prose = freshProse(situation);
  const list: { change: string; situation: Situation }[] = [];
  // Close above a threshold, less is as near as more: a second look at the data often takes some of them away.
  for (const target of [T.pairsFloor.value, T.pairsUsable.value])
    if (pairs >= target && pairs <= target * T.close.value)
      list.push({
        change: `if ${count(pairs - target + 1)} of your pairs turned out to be of no use`,
        situation: withPairs(situation, target - 1),
      });
  for (const target of [T.proseStyle.value, T.proseField.value])
    if (prose >= target && prose <= target * T.close.value)
      list.push({
        change: `if about ${about(prose - target + 1)} tokens of your prose turned out to be of no use`,
        situation: withFreshProse(situation, target - 1),
      });
  for (const target of [T.pairsFloor.value, T.pairsUsable.value])
    if (pairs < target)
      list.push({
        change: `with about ${about(target - pairs)} more different pairs`,
        situation: withPairs(situation, target),
      });
  for (const target of [T.proseStyle.value, T.proseField.value])
    if (prose < target)
      list.push({
        change: `with about ${about(target - prose)} more tokens of prose (${about((target - prose) / TOKENS_PER_WORD)} words)`,
        situation: withFreshProse(situation, target),
      });
  for (const question of QUESTIONS) {
    if (question.id === 'material') continue;
    for (const option of question.options)
      if (option.value !== situation.answers[question.id])
        list.push({
          change: `if you had answered “${option.label}” to “${question.text}”`,
          situation: withAnswer(situation, question.id, option.value),
        });
  }
  // Two and three at once: one of these tips any advice that no single change does.
  const { pairsFloor } = T;
  const lookedUp = withAnswer(withAnswer(situation, 'change', 'often'), 'cite', 'always');
  const settled = withAnswer(withAnswer(situation, 'change', 'stable'), 'cite', 'no');
  list.push(
    { change: 'if its facts changed every week and it had to name its sources', situation: lookedUp },
    { change: 'if its facts hardly ever changed and it need not name its sources', situation: settled },
    {
      change: `if its facts hardly ever changed, it need not name its sources, and you had ${pairsFloor.value} different pairs`,
      situation: withPairs(settled, Math.max(pairs, pairsFloor.value)),
    },
    {
      change: `if it had one job, its facts hardly ever changed, it need not name its sources, and you had ${pairsFloor.value} different pairs`,
      situation: withPairs(withAnswer(settled, 'task', 'one-job'), Math.max(pairs, pairsFloor.value)),
    },
  );
  return able
    ? [
        { change: 'if the model did not already answer like your examples', situation },
        ...list.map(({ change, situation: then }) => ({
          change: `${change}, and the model did not already answer like your examples`,
          situation: then,
        })),
      ]
    : list;
}

/** The first change that brings another advice. */
export function tip(situation: Situation): Tip {
  const { strategy } = decide(situation);
  for (const each of changes(situation)) {
    const other = decide(each.situation).strategy;
    if (other !== strategy) return { strategy: other, change: each.change, situation: each.situation };
  }
  throw new Error('The last changes tip any advice.');
}
