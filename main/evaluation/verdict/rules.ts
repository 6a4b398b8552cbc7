/** @file The rules of the verdict: from what was measured and what the person wants to one of five verdicts. Read from the top, the first rule that fits decides. */
import type { StrategyVerdict } from '../../contract/entities.ts';
import type { Way } from '../../contract/recipe.ts';
import { lostElsewhere, onGoal, type Seen } from './seen.ts';

export interface Rule {
  readonly id: string;
  readonly when: (seen: Seen) => boolean;
  readonly verdict: StrategyVerdict['verdict'];
  readonly title: (seen: Seen) => string;
  /** A sentence that follows the figures; empty where they say all. */
  readonly because: (seen: Seen) => string;
}

export const WAYS: Readonly<Record<Way, string>> = {
  instruct: 'Instruct',
  'non-instruct': 'Non-instruct',
  staged: 'Both in stages',
};
const named = ({ strategy }: Seen): string => WAYS[strategy];
const were = ({ strategy }: Seen): string => (strategy === 'staged' ? 'were' : 'was');

/** From here a model answers so well that next to nothing is left to learn; as strategy's `alreadyDoes`. */
const ALREADY = 0.85;
/** More points than “a little” of all general skills. Reasoning: one question in twenty that it could answer before. */
const LITTLE = 0.05;

const oneTask = ({ answers }: Seen): boolean => answers['task'] === 'one-job' || answers['task'] === 'few-jobs';
const better = (seen: Seen): boolean => onGoal(seen) === 'better';
const none = (): string => '';
/** The facts are to be looked up, whatever the model learns. */
const lookUp = ({ answers }: Seen): boolean =>
  answers['change'] === 'often' && (answers['cite'] === 'always' || answers['task'] === 'field');

/** Of a run against the model it was tuned from. */
export const RULES: readonly Rule[] = [
  {
    id: 'unmeasured',
    when: (seen) => onGoal(seen) === null,
    verdict: 'open',
    title: () => 'The goal itself was not measured',
    because: none,
  },
  {
    id: 'look-up',
    when: lookUp,
    verdict: 'wrong',
    title: () => 'Tuning is not the way to this goal',
    because: () =>
      'Its facts change every week: what is trained in will be out of date, however well it does today, and it cannot say where it read something.',
  },
  {
    id: 'already-did',
    when: (seen) => seen.goal !== null && seen.goal.verdict !== 'better' && seen.goal.before >= ALREADY,
    verdict: 'wrong',
    title: () => 'There was little to learn',
    because: ({ goal, against }) =>
      `${against} already meets what you look for in ${Math.round(100 * (goal?.before ?? 0))}% of the answers.`,
  },
  {
    id: 'goal-worse',
    when: (seen) => onGoal(seen) === 'worse',
    verdict: 'wrong',
    title: (seen) => `${named(seen)} ${were(seen)} not right, as it was done`,
    because: () => 'It is measurably worse at the very thing it was tuned for.',
  },
  {
    id: 'reads-only',
    when: (seen) => seen.strategy === 'non-instruct' && oneTask(seen) && seen.goal !== null && !better(seen),
    verdict: 'wrong',
    title: () => 'Non-instruct was not right for this goal',
    because: () =>
      'You want a task done. It has read your text, and that does not show how the task is done: finished examples do.',
  },
  {
    id: 'reads-first',
    when: (seen) => seen.strategy === 'non-instruct' && oneTask(seen) && seen.goal === null && better(seen),
    verdict: 'not-yet',
    title: () => 'It took in your text; the task is still to come',
    because: () =>
      'It predicts text of your field better. Whether it does the task can be seen once it was shown finished examples.',
  },
  {
    id: 'price',
    when: (seen) => better(seen) && lostElsewhere(seen) && seen.answers['flexibility'] === 'no',
    verdict: 'price',
    title: (seen) => `${named(seen)} ${were(seen)} right, and cost what you want to keep`,
    because: () => 'You said that it must keep everything else.',
  },
  {
    id: 'large-price',
    when: (seen) =>
      better(seen) &&
      seen.answers['flexibility'] !== 'yes' &&
      seen.general?.verdict === 'worse' &&
      seen.general.difference.value <= -LITTLE,
    verdict: 'price',
    title: (seen) => `${named(seen)} ${were(seen)} right, at a price`,
    because: ({ answers }) =>
      answers['flexibility'] === undefined ? '' : 'You said that it may get a little worse elsewhere; this is more.',
  },
  {
    id: 'unguarded',
    when: (seen) => better(seen) && seen.general === null && seen.answers['flexibility'] === 'no',
    verdict: 'open',
    title: () => 'It learned; what it cost was not measured',
    because: () => 'You said that it must keep everything else.',
  },
  {
    id: 'against-advice',
    when: (seen) => better(seen) && seen.overruled,
    verdict: 'right',
    title: (seen) => `${named(seen)} ${were(seen)} right for this goal, against the advice`,
    because: none,
  },
  {
    id: 'right',
    when: better,
    verdict: 'right',
    title: (seen) => `${named(seen)} ${were(seen)} right for this goal`,
    because: (seen) => (lostElsewhere(seen) ? 'What it lost elsewhere is what you allowed.' : ''),
  },
  {
    id: 'expects',
    when: (seen) => seen.loss === 'better',
    verdict: 'not-yet',
    title: () => 'It has begun to learn; its answers do not show it yet',
    because: () => 'It finds your answers likelier than before, but its own are not measurably nearer to them.',
  },
  {
    id: 'expects-less',
    when: (seen) => seen.loss === 'worse',
    verdict: 'not-yet',
    title: () => 'It predicts unseen rows worse than before; its answers do not show it yet',
    because: none,
  },
  {
    id: 'nothing',
    when: () => true,
    verdict: 'not-yet',
    title: () => 'No difference that we can measure',
    because: none,
  },
];

/** Of a run against another run, or against another model. */
export const RULES_AGAINST: readonly Rule[] = [
  RULES[0]!,
  {
    id: 'trade',
    when: (seen) => better(seen) && lostElsewhere(seen),
    verdict: 'price',
    title: ({ label, against }) => `${label} is better at the goal than ${against}, and worse elsewhere`,
    because: none,
  },
  {
    id: 'better',
    when: better,
    verdict: 'right',
    title: ({ label, against }) => `${label} is better than ${against}`,
    because: none,
  },
  {
    id: 'worse',
    when: (seen) => onGoal(seen) === 'worse',
    verdict: 'wrong',
    title: ({ label, against }) => `${label} is worse than ${against}`,
    because: none,
  },
  {
    id: 'same-but-lost',
    when: lostElsewhere,
    verdict: 'wrong',
    title: ({ label, against }) => `${label} is no better at the goal than ${against}, and worse elsewhere`,
    because: none,
  },
  {
    id: 'likelier',
    when: (seen) => seen.loss === 'better',
    verdict: 'not-yet',
    title: ({ label, against }) => `${label} predicts unseen rows better than ${against}; its answers do not show it`,
    because: none,
  },
  {
    id: 'less-likely',
    when: (seen) => seen.loss === 'worse',
    verdict: 'not-yet',
    title: ({ label, against }) => `${label} predicts unseen rows worse than ${against}; its answers do not show it`,
    because: none,
  },
  {
    id: 'same',
    when: () => true,
    verdict: 'not-yet',
    title: ({ label, against }) => `${label} and ${against}: no difference that we can measure`,
    because: none,
  },
];
