/** @file What a person must read before the tuned model is used: from what was measured and what was not. Pure. */
import type { Comparison, Model, Run } from '../../contract/entities.ts';
import { percent } from '../../contract/figures.ts';

/** @param model the base; null where it is no longer here. @param which of the comparison's further models is reported. */
export function cautionsOf(
  result: NonNullable<Comparison['result']>,
  which: number,
  { advice, choice, over, strategy }: Pick<Run, 'advice' | 'choice' | 'over' | 'strategy'>,
  model: Pick<Model, 'license'> | null,
): string[] {
  const { scorecard, answers } = result;
  const goal = scorecard?.goal;
  const right = goal?.items.filter((item) => item.answers[which + 1]!.score >= 0.999).length ?? 0;
  const graded = goal?.checks.every(({ check }) => check.kind === 'f1' || check.kind === 'rouge-l') ?? false;
  const lost = (scorecard?.skills ?? [])
    .filter(({ verdicts }) => verdicts[which] === 'worse')
    .map(({ skill }) => skill.replaceAll('-', ' '));
  // A risk is that of the way that was advised: of another way it says nothing. One stage is a part of both in stages.
  const way = over ? 'staged' : strategy;
  const ofWayTaken = advice?.strategy === way || (advice?.strategy === 'staged' && !choice?.overruled);
  return [
    goal
      ? graded
        ? `Its answers share ${percent(goal.scores[which + 1]!.value)} with what was wanted; that says nothing of whether they are true. Read each before it goes out.`
        : `${goal.items.length - right} of ${goal.items.length} unseen questions were not answered as wanted. Read each answer before it goes out.`
      : 'Whether its own answers are right was not measured. Read each before it goes out.',
    ...(lost.length > 0 ? [`It is worse than before at: ${lost.join(', ')}. Do not use it for these.`] : []),
    ...(scorecard?.general ? [] : ['What it lost at other things was not measured.']),
    ...(answers['change'] === 'often' ? ['Its facts change: what it learned is out of date sooner or later.'] : []),
    ...(answers['cite'] === 'always' || answers['cite'] === 'sometimes'
      ? ['It cannot say where it read something, and may name a source that does not exist.']
      : []),
    'It was measured on rows of the same source as those it learned from; elsewhere it may do otherwise.',
    ...(advice && ofWayTaken ? [advice.risk] : []),
    ...(model?.license
      ? []
      : [
          model
            ? 'The licence of the base model is not stated in its files: find it out before passing it on.'
            : 'The base model was removed from Fettle, and its licence with it: find it out before passing it on.',
        ]),
  ];
}
