/** @file The verdict on a strategy: the rules, the figures in one plain sentence, and what to change next. Deterministic. */
import type { ComparisonResult, LearningCurve, Measured, StrategyVerdict } from '../../contract/entities.ts';
import { curveFor } from '../../contract/curves.ts';
import { points, signed } from '../../contract/figures.ts';
import { nextOf } from './changes.ts';
import { RULES, RULES_AGAINST } from './rules.ts';
import { seenOf, type Seen } from './seen.ts';

/** Of each further model that is a run. @param curves of the project, newest first. */
export const verdictsOf = (result: ComparisonResult, curves: readonly LearningCurve[]): StrategyVerdict[] =>
  result.models.slice(1).flatMap(({ target, run }, i) => {
    const seen = run && seenOf(result, i, curveFor(run.strategy, curves));
    return seen ? [{ target, ...judgeStrategy(seen) }] : [];
  });

export function judgeStrategy(seen: Seen): Omit<StrategyVerdict, 'target'> {
  const rule = (seen.toBase ? RULES : RULES_AGAINST).find(({ when }) => when(seen))!;
  const decided = { rule: rule.id, verdict: rule.verdict };
  return {
    ...decided,
    title: rule.title(seen),
    because: [inPoints(seen), rule.because(seen)].filter((part) => part !== '').join(' '),
    next: nextOf(seen, decided),
  };
}

const inWhole = (share: Measured): string => signed(points(share).value, 0);
const margin = ({ low, high }: Measured): string => `± ${Math.round((100 * (high - low)) / 2)}`;

/** "+31 ± 9 points on your task, −4 ± 3 on general skills, most of it arithmetic." */
function inPoints({ goal, loss, general, text }: Seen): string {
  const parts: string[] = [];
  const lossWords = { better: 'less', worse: 'more', 'no-difference': 'no measurable difference of' } as const;
  if (goal)
    parts.push(
      goal.verdict === 'no-difference'
        ? `no difference that we can measure on your task (${inWhole(goal.difference)} ${margin(goal.difference)} points)`
        : `${inWhole(goal.difference)} ${margin(goal.difference)} points on your task`,
    );
  else if (loss) parts.push(`${lossWords[loss]} loss on unseen rows`);
  if (general) {
    const mostly = general.lost[0] ? `, most of it ${general.lost[0]}` : '';
    const { lost, gained, verdict, difference } = general;
    if (verdict === 'worse') parts.push(`${inWhole(difference)} ${margin(difference)} on general skills${mostly}`);
    else if (verdict === 'better') parts.push(`${inWhole(difference)} ${margin(difference)} on general skills`);
    else if (lost.length > 0)
      parts.push(`${lost.slice(0, 3).join(', ')} worse among general skills, the whole not measurably`);
    else
      parts.push(
        `no difference that we can measure on general skills (${inWhole(difference)} ${margin(difference)})${gained[0] ? `, though ${gained[0]} gained` : ''}`,
      );
  }
  if (text === 'worse') parts.push('other text is read worse');
  const all = parts.join('; ');
  return all === '' ? '' : `${all.charAt(0).toUpperCase()}${all.slice(1)}.`;
}
