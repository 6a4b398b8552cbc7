/** @file What to change next: a table read from the top, of which the first few that fit are told. */
import type { StrategyVerdict } from '../../contract/entities.ts';
import { percent } from '../../contract/figures.ts';
import { lostElsewhere, onGoal, type Seen } from './seen.ts';

interface Change {
  readonly id: string;
  /** @param rule that decided the verdict. */
  readonly when: (seen: Seen, decided: Pick<StrategyVerdict, 'rule' | 'verdict'>) => boolean;
  readonly what: (seen: Seen) => string;
  readonly why: (seen: Seen) => string;
  /** Values of the recipe that do it. */
  readonly set?: (seen: Seen) => Record<string, number>;
}

/** So many pieces of advice are told: more would be a list, not advice. */
const MOST = 3;
/** What suits a mild shift (Ibrahim et al. 2024; docs/decisions/guards-and-rehearsal.md): the first thing to try. */
const REHEARSAL = 0.05;
/** With fewer questions the margin of a share is 10 points or more to either side: 1.96 * sqrt(0.25 / 100). */
const ENOUGH_QUESTIONS = 100;

/** Below it a check is met by chance at most. Reasoning: one answer in fifty. */
const FLOOR = 0.02;

/** Worse at the goal; of a run against its base the loss alone is enough. */
const broken = (seen: Seen): boolean => onGoal(seen) === 'worse' || (seen.toBase && seen.loss === 'worse');

const tooFew = (goal: Seen['goal']): boolean => goal?.verdict === 'no-difference' && goal.items < ENOUGH_QUESTIONS;
const toldApart = (goal: Seen['goal']): string =>
  `As it is, only differences of more than ${Math.ceil((100 * ((goal?.difference.high ?? 0) - (goal?.difference.low ?? 0))) / 2)} points could be told from chance.`;

const rounded = (value: number): number => Number(value.toPrecision(2));

export const CHANGES: readonly Change[] = [
  {
    id: 'look-up',
    when: (_, { rule }) => rule === 'look-up',
    what: () => 'Look the facts up and put them into the question (retrieval), with the base model or with this one.',
    why: () => 'That follows changes at once and can name its source.',
  },
  {
    id: 'prompt',
    when: (_, { rule }) => rule === 'already-did',
    what: () => 'Use the base model with a good prompt, or look for harder examples.',
    why: () => 'Tuning can only cost it other abilities here.',
  },
  {
    id: 'measure-task',
    when: (_, { rule }) => rule === 'unmeasured',
    what: () => 'Measure the task too: let each model answer unseen questions.',
    why: () => 'Without it nothing can be said of the goal.',
  },
  {
    id: 'examples',
    when: (_, { rule }) => rule === 'reads-only' || rule === 'reads-first',
    what: () => 'Show it finished examples: a second stage over this run, with instruct tuning.',
    why: () => 'It keeps what it read and learns how the task is done.',
  },
  {
    id: 'measure-general',
    when: (seen) => seen.general === null && onGoal(seen) === 'better',
    what: () => 'Measure general skills and other text too.',
    why: () => 'Until then nobody knows what it cost.',
  },
  {
    id: 'rehearse',
    when: (seen, { verdict }) => verdict !== 'right' && lostElsewhere(seen) && seen.rehearsal < REHEARSAL,
    what: ({ rehearsal }) =>
      `Mix in ${percent(REHEARSAL)} general examples (rehearsal)${rehearsal > 0 ? ` instead of ${percent(rehearsal)}` : ''}.`,
    why: ({ general }) =>
      `It practises what it lost${general?.lost[0] ? `: ${general.lost.slice(0, 3).join(', ')}` : ''}.`,
    set: () => ({ rehearsal: REHEARSAL }),
  },
  {
    id: 'best-checkpoint',
    when: ({ past }) => past !== null,
    what: ({ past }) => `Take its checkpoint of step ${past}.`,
    why: () => 'There its loss on unseen rows was lowest; from there it rose: it began to learn by heart.',
  },
  {
    id: 'gentler',
    when: (seen, { verdict }) =>
      verdict !== 'right' && ((lostElsewhere(seen) && seen.rehearsal >= REHEARSAL) || broken(seen) || seen.early),
    what: ({ learningRate }) => `Take steps half as large (learning rate ${rounded(learningRate / 2)}).`,
    why: (seen) =>
      broken(seen)
        ? 'Large steps can break what it could do at the start.'
        : lostElsewhere(seen)
          ? 'General data are mixed in already; smaller steps move it less.'
          : 'It was best early on, and what came after only took away again.',
    set: ({ learningRate }) => ({ learningRate: rounded(learningRate / 2) }),
  },
  {
    id: 'more-epochs',
    when: (seen, { verdict }) => seen.falling && verdict === 'not-yet',
    what: ({ epochs, maxSteps }) =>
      maxSteps === null
        ? `Train longer: ${rounded(2 * epochs)} times over the data instead of ${epochs}.`
        : `Train longer: ${2 * maxSteps} steps instead of ${maxSteps}.`,
    why: () => 'Its loss on unseen rows was still falling when it ended.',
    set: ({ epochs, maxSteps }) => (maxSteps === null ? { epochs: rounded(2 * epochs) } : { maxSteps: 2 * maxSteps }),
  },
  {
    id: 'as-advised',
    when: (seen, { verdict }) =>
      verdict !== 'right' && seen.overruled && seen.advised !== null && seen.advised !== 'do-not-tune',
    what: ({ advised }) => `Try the way that was advised: ${advised === 'staged' ? 'both in stages' : advised}.`,
    why: ({ strategy }) => `This run went ${strategy === 'staged' ? 'both ways in stages' : strategy}.`,
  },
  {
    id: 'softer-check',
    when: ({ goal }) => goal?.verdict === 'no-difference' && goal.before + Math.max(0, goal.difference.value) <= FLOOR,
    what: () => 'Read the answers, and judge them by a check that is less strict, such as the words shared.',
    why: () => 'Nearly no answer meets it, before or after, so no difference can show.',
  },
  {
    id: 'more-questions',
    when: ({ goal }) => tooFew(goal) && goal?.left !== 0,
    what: ({ goal }) => `Let them answer more unseen questions than ${goal?.items ?? 0}.`,
    why: ({ goal }) => toldApart(goal),
  },
  {
    id: 'more-unseen',
    when: ({ goal }) => tooFew(goal) && goal?.left === 0,
    what: ({ goal }) =>
      `Hold more rows out: all ${goal?.items ?? 0} unseen questions were asked. Bring the data in again with a larger share held out, and train on that.`,
    why: ({ goal }) => toldApart(goal),
  },
  {
    id: 'more-data',
    when: ({ curve }) => curve === 'helps',
    what: () => 'Collect more of the same data.',
    why: () => 'The learning curve says that the loss on unseen rows would fall with twice as many.',
  },
  {
    id: 'other-data',
    when: ({ curve }, { verdict }) => curve === 'hardly' && verdict !== 'right',
    what: () => 'Look for data of another kind, or try the other way of tuning, rather than more of the same.',
    why: () => 'The learning curve says that twice as many would hardly change anything.',
  },
  {
    id: 'measure-curve',
    when: ({ curve, toBase }, { verdict }) => toBase && curve === null && verdict === 'not-yet',
    what: () => 'Measure the learning curve.',
    why: () => 'It tells whether more of the same data would help.',
  },
  {
    id: 'hand-over',
    when: (_, { verdict }) => verdict === 'right',
    what: ({ label }) => `Read some of the answers of ${label}, then export it.`,
    why: () => 'Figures do not see everything that a person sees.',
  },
];

export const nextOf = (seen: Seen, decided: Pick<StrategyVerdict, 'rule' | 'verdict'>): StrategyVerdict['next'] =>
  CHANGES.filter(({ when }) => when(seen, decided))
    .slice(0, MOST)
    .map(({ id, what, why, set }) => ({ id, what: what(seen), why: why(seen), set: set?.(seen) ?? {} }));
