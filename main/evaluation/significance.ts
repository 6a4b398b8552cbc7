/** @file Whether a difference can be told from chance: a paired sign-flip test, and Holm's correction where several are judged at once. */
import { Random } from '../engine/random.ts';
import { signTest } from './votes.ts';

const FLIPS = 4000;
const SEED = 20240611;

/** Signs are tried one by one up to so many differences; beyond, they are drawn. */
const MOST_ENUMERATED = 12;

/**
 * Two-sided p of paired differences under the hypothesis that each could as well have had the other sign (Fisher's
 * randomisation; Good 2005). Exact where all are of one size, as with right and wrong (it is then the sign test), and
 * where few differ; else by drawing.
 */
export function signFlip(differences: readonly number[]): number {
  const moved = Float64Array.from(differences.filter((difference) => difference !== 0));
  if (moved.length === 0) return 1;
  const observed = Math.abs(moved.reduce((a, b) => a + b, 0)) - 1e-12;
  const size = Math.abs(moved[0]!);
  if (moved.every((value) => Math.abs(value) === size))
    return signTest(moved.filter((value) => value > 0).length, moved.length);
  if (moved.length <= MOST_ENUMERATED) {
    const all = 2 ** moved.length;
    let extreme = 0;
    for (let signs = 0; signs < all; signs++) if (Math.abs(flipped(moved, () => signs)) >= observed) extreme++;
    return extreme / all;
  }
  const random = new Random(SEED);
  let extreme = 0;
  for (let flip = 0; flip < FLIPS; flip++) if (Math.abs(flipped(moved, () => random.bits())) >= observed) extreme++;
  return (extreme + 1) / (FLIPS + 1);
}

/** The sum with each sign as one bit says; 32 bits are asked for at a time. */
function flipped(values: Float64Array, bits: () => number): number {
  let sum = 0;
  let word = 0;
  for (let i = 0; i < values.length; i++) {
    if ((i & 31) === 0) word = bits();
    sum += word & 1 ? values[i]! : -values[i]!;
    word >>>= 1;
  }
  return sum;
}

/** Which of several hypotheses fall at a family-wise level (Holm 1979), in the order given. */
export function holm(ps: readonly number[], level = 0.05): boolean[] {
  const order = ps.map((p, i) => ({ p, i })).sort((a, b) => a.p - b.p);
  const fallen = ps.map(() => false);
  for (const [rank, { p, i }] of order.entries()) {
    if (p > level / (ps.length - rank)) break;
    fallen[i] = true;
  }
  return fallen;
}
