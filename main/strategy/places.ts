/** @file Where a person stands on the three axes, 0 to 1, and how far off that could be. The weights of the answers are here; thresholds.ts says why. */
import type { Answers } from '../contract/entities.ts';
import { THRESHOLDS as T } from './thresholds.ts';

/** A place on an axis: 0 speaks for non-instruct, 1 for instruct; `off` is how far it could be out. */
export interface Place {
  readonly at: number;
  readonly off: number;
}
type Weights = Readonly<Record<string, number>>;

/**
 * Where each answer puts a person. All of it is reasoning: the ends are kept free (nobody is wholly sure), “one job” and
 * “a few jobs” lie above `clear`, “our field” below `broad`, and “cannot say” in the middle. What is asked second moves
 * the place by less than the distance to the next answer of the first, so that it can never overrule it.
 */
export const WEIGHTS = {
  task: { 'one-job': 0.88, 'few-jobs': 0.72, field: 0.18, unsure: 0.5 },
  check: { yes: 0.08, 'by-feel': 0, no: -0.08 },
  flexibility: { yes: 0.88, 'a-little': 0.65, no: 0.2 },
  variety: { alike: 0.08, varied: 0, anything: -0.15 },
} as const satisfies Readonly<Record<string, Weights>>;

/**
 * How far off a place could be, on the same scale. Reasoning: an open question could have been answered with either
 * neighbour, which lie about 0.3 away; one that was answered may still be meant a little differently.
 */
const OFF = { open: 0.3, unsure: 0.2, answered: 0.06, flexible: 0.08, secondOpen: 0.1 } as const;

const clamp = (value: number): number => Math.min(1, Math.max(0, value));
const at = (weights: Weights, answer: string | undefined, otherwise: number): number =>
  (answer === undefined ? undefined : weights[answer]) ?? otherwise;

export function goalPlace({ task, check }: Answers): Place {
  const open = task === undefined ? OFF.open : task === 'unsure' ? OFF.unsure : OFF.answered;
  return {
    at: clamp(at(WEIGHTS.task, task, 0.5) + at(WEIGHTS.check, check, 0)),
    off: open + (check === undefined ? OFF.secondOpen : 0),
  };
}

export function flexibilityPlace({ flexibility, variety }: Answers): Place {
  return {
    at: clamp(at(WEIGHTS.flexibility, flexibility, 0.5) + at(WEIGHTS.variety, variety, 0)),
    off: (flexibility === undefined ? OFF.open : OFF.flexible) + (variety === undefined ? OFF.secondOpen : 0),
  };
}

/** What the person wants, from broad (0) to specific (1). The goal counts twice: flexibility is a price, not an aim. */
export const aimOf = (answers: Answers): number => (2 * goalPlace(answers).at + flexibilityPlace(answers).at) / 3;

/** How far an amount is from `few` to `plenty`, by its order of magnitude, 0 to 1. */
const filled = (amount: number, few: number, plenty: number): number =>
  amount <= few ? 0 : clamp(Math.log(amount / few) / Math.log(plenty / few));

/** Each scale begins at a fifth of the least amount that counts, so that what is too little still shows on it. */
const BEGINS = 1 / 5;

export function dataPlace(pairs: number, prose: number): Place {
  const place = (pairsTimes: number, proseTimes: number): number =>
    0.5 +
    (filled(pairs * pairsTimes, T.pairsFloor.value * BEGINS, T.pairsPlenty.value) -
      filled(prose * proseTimes, T.proseStyle.value * BEGINS, T.prosePlenty.value)) /
      2;
  // Examples vary in worth and tokens are estimated: 1.5 times as many or as few pairs, 1.2 times the tokens.
  return { at: place(1, 1), off: Math.max(place(1.5, 1 / 1.2) - place(1, 1), place(1, 1) - place(1 / 1.5, 1.2)) };
}
