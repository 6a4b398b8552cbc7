/** @file What votes between two models say: the share of choices with its exact margin, the sign test, and how many more would settle it. */
import type { VoteCount } from '../contract/entities.ts';

/** A share is settled where an even one is ruled out at this level. */
const LEVEL = 0.05;
/** Beyond so many more choices, nobody should be told to go on. */
const MOST_MORE = 1000;

/**
 * Ties say nothing of who is better and are left out, as the sign test does (Dixon and Mood 1946).
 * @param first votes for one of the two. @param second for the other.
 */
export function countVotes(first: number, second: number, ties: number): VoteCount {
  const [leads, trails] = [Math.max(first, second), Math.min(first, second)];
  const choices = leads + trails;
  const p = signTest(leads, choices);
  const settled = choices > 0 && p < LEVEL;
  return {
    votes: choices + ties,
    ties,
    leads,
    trails,
    share: choices === 0 ? null : { value: leads / choices, ...exactInterval(leads, choices) },
    p,
    settled,
    more: settled ? null : moreVotes(leads, choices),
  };
}

/** Two-sided p of `hits` of `n` under an even chance: twice the smaller tail, at most 1. */
export function signTest(hits: number, n: number): number {
  return Math.min(1, 2 * upperTail(Math.max(hits, n - hits), n, 0.5));
}

/** 95% interval of a share that inverts the two exact tails (Clopper and Pearson 1934): it rules out one half where the sign test does. */
export function exactInterval(hits: number, n: number): { readonly low: number; readonly high: number } {
  const low = hits === 0 ? 0 : solve((share) => upperTail(hits, n, share) - LEVEL / 2);
  const high = hits === n ? 1 : solve((share) => upperTail(hits + 1, n, share) - (1 - LEVEL / 2));
  return { low, high };
}

/**
 * The fewest further choices with which the sign test settles it if the share stays what it is. Null where they are even,
 * or where it would take more than anybody should judge.
 */
function moreVotes(leads: number, choices: number): number | null {
  const share = leads / choices;
  if (choices === 0 || share === 0.5) return null;
  for (let more = 1; more <= MOST_MORE; more++)
    if (signTest(Math.round(share * (choices + more)), choices + more) < LEVEL) return more;
  return null;
}

/** Probability of `hits` or more of `n`, summed from the logarithms of its terms, so that thousands of votes do not underflow. */
function upperTail(hits: number, n: number, share: number): number {
  if (hits <= 0 || share >= 1) return 1;
  if (share <= 0) return 0;
  let sum = 0;
  for (let k = hits; k <= n; k++) sum += Math.exp(logChoose(n, k) + k * Math.log(share) + (n - k) * Math.log1p(-share));
  return Math.min(1, sum);
}

const logFactorials: number[] = [0];
function logFactorial(n: number): number {
  for (let k = logFactorials.length; k <= n; k++) logFactorials.push(logFactorials[k - 1]! + Math.log(k));
  return logFactorials[n]!;
}
const logChoose = (n: number, k: number): number => logFactorial(n) - logFactorial(k) - logFactorial(n - k);

/** Where a function that grows from below zero to above it is zero, on 0 to 1. */
function solve(grows: (share: number) => number): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (grows(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
