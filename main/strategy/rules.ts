/** @file The rules of the advice: from a situation to one of four strategies. Read from the top, the first rule that fits decides. */
import type { AdviceStrategy, Answers } from '../contract/entities.ts';
import type { Situation } from './situation.ts';
import { THRESHOLDS as T } from './thresholds.ts';

/** A place on an axis: 0 speaks for non-instruct, 1 for instruct; `off` is how far it could be out. */
export interface Place {
  readonly at: number;
  readonly off: number;
}

const clamp = (value: number): number => Math.min(1, Math.max(0, value));
const TASK = { 'one-job': 0.88, 'few-jobs': 0.72, field: 0.18, unsure: 0.5 } as Readonly<Record<string, number>>;
const CHECK = { yes: 0.08, 'by-feel': 0, no: -0.08 } as Readonly<Record<string, number>>;
const MAY_LOSE = { yes: 0.88, 'a-little': 0.65, no: 0.2 } as Readonly<Record<string, number>>;
const VARIETY = { alike: 0.08, varied: 0, anything: -0.15 } as Readonly<Record<string, number>>;
const at = (table: Readonly<Record<string, number>>, answer: string | undefined, otherwise: number): number =>
  (answer === undefined ? undefined : table[answer]) ?? otherwise;

export function goalPlace(answers: Answers): Place {
  const open = answers['task'] === undefined ? 0.3 : answers['task'] === 'unsure' ? 0.2 : 0.06;
  return {
    at: clamp(at(TASK, answers['task'], 0.5) + at(CHECK, answers['check'], 0)),
    off: open + (answers['check'] === undefined ? 0.08 : 0),
  };
}

export function flexibilityPlace(answers: Answers): Place {
  return {
    at: clamp(at(MAY_LOSE, answers['flexibility'], 0.5) + at(VARIETY, answers['variety'], 0)),
    off: (answers['flexibility'] === undefined ? 0.3 : 0.08) + (answers['variety'] === undefined ? 0.1 : 0),
  };
}

/** How far an amount is from `few` to `plenty`, by its order of magnitude, 0 to 1. */
const filled = (amount: number, few: number, plenty: number): number =>
  amount <= few ? 0 : clamp(Math.log(amount / few) / Math.log(plenty / few));

export function dataPlace(pairs: number, proseTokens: number): Place {
  const place = (pairsTimes: number, proseTimes: number): number =>
    0.5 +
    (filled(pairs * pairsTimes, T.pairsFloor.value / 5, T.pairsPlenty.value) -
      filled(proseTokens * proseTimes, T.proseStyle.value / 5, T.prosePlenty.value)) /
      2;
  // Examples vary in worth and tokens are estimated: 1.5 times as many or as few pairs, 1.2 times the tokens.
  return { at: place(1, 1), off: Math.max(place(1.5, 1 / 1.2) - place(1, 1), place(1, 1) - place(1 / 1.5, 1.2)) };
}

/** What the person wants, from broad (0) to specific (1). The goal counts twice: flexibility is a price, not an aim. */
export const aimOf = (answers: Answers): number => (2 * goalPlace(answers).at + flexibilityPlace(answers).at) / 3;

interface Seen {
  readonly answers: Answers;
  /** Different pairs. */
  readonly pairs: number;
  /** The model, as it is, answers like the examples. */
  readonly able: boolean;
  readonly prose: number;
  readonly aim: number;
}

interface Rule {
  readonly id: string;
  readonly when: (seen: Seen) => boolean;
  readonly strategy: AdviceStrategy;
  /** One sentence that completes “because”. */
  readonly why: string;
}

/**
 * Ordered so that more pairs never move the advice away from instruct: with everything else equal it goes only along
 * do-not-tune, non-instruct, staged, instruct. A property test keeps it so.
 */
export const RULES: readonly Rule[] = [
  {
    id: 'look-up',
    when: ({ answers }) => answers['change'] === 'often' && answers['cite'] === 'always',
    strategy: 'do-not-tune',
    why: 'the answers must follow facts that change and name their source: looking up (retrieval) does both, tuning does neither',
  },
  {
    id: 'changing-field',
    when: ({ answers }) => answers['task'] === 'field' && answers['change'] === 'often',
    strategy: 'do-not-tune',
    why: 'knowledge that changes every week would be out of date as soon as it is trained in',
  },
  {
    id: 'cited-field',
    when: ({ answers }) => answers['task'] === 'field' && answers['cite'] === 'always',
    strategy: 'do-not-tune',
    why: 'a tuned model cannot say where it read something, and you need that always',
  },
  {
    id: 'already-does',
    when: ({ able }) => able,
    strategy: 'do-not-tune',
    why: 'the model already answers like your examples: tuning could cost it other abilities and gain next to nothing',
  },
  {
    id: 'no-data',
    when: ({ pairs, prose }) => pairs === 0 && prose === 0,
    strategy: 'do-not-tune',
    why: 'there is nothing to learn from yet',
  },
  {
    id: 'too-little',
    when: ({ pairs, prose }) => pairs < T.pairsFloor.value && prose < T.proseStyle.value,
    strategy: 'do-not-tune',
    why: 'so little data is better shown in the prompt, as examples, than trained',
  },
  {
    id: 'clear-without-examples',
    when: ({ pairs, aim }) => pairs < T.pairsFloor.value && aim >= T.clear.value,
    strategy: 'do-not-tune',
    why: 'the task is clear, but text alone does not show how it is done: finished examples do',
  },
  {
    id: 'reading',
    when: ({ pairs }) => pairs < T.pairsFloor.value,
    strategy: 'non-instruct',
    why: 'there is text to read and there are too few finished examples to imitate',
  },
  {
    id: 'field-first',
    when: ({ pairs, prose, aim }) => aim < T.broad.value && prose >= T.proseStyle.value && pairs < T.pairsUsable.value,
    strategy: 'non-instruct',
    why: 'you want the field rather than one task, and the text says more about it than the few examples',
  },
  {
    id: 'both',
    when: ({ prose }) => prose >= T.proseField.value,
    strategy: 'staged',
    why: 'there is enough text to learn the field from, and there are examples to learn the answers from afterwards',
  },
  {
    id: 'examples',
    when: () => true,
    strategy: 'instruct',
    why: 'there are finished examples of what you want, and they show it better than any text',
  },
];

/** By its graded answers; the lower end of the margin counts, so that luck is no proof. */
export const isAble = ({ measured }: Pick<Situation, 'measured'>): boolean =>
  measured !== null &&
  measured.f1 !== null &&
  measured.answers.length >= T.graded.value &&
  measured.f1.low >= T.alreadyDoes.value;

export interface Decision {
  readonly strategy: AdviceStrategy;
  readonly rule: string;
  readonly why: string;
}

export function decide(situation: Situation): Decision {
  const seen: Seen = {
    answers: situation.answers,
    pairs: situation.pairs?.different ?? 0,
    prose: situation.proseTokens,
    aim: aimOf(situation.answers),
    able: isAble(situation),
  };
  const rule = RULES.find((each) => each.when(seen));
  if (!rule) throw new Error('The last rule fits everything.');
  return { strategy: rule.strategy, rule: rule.id, why: rule.why };
}
