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

/**
 * Which of several hypotheses fall at a family-wise level, in the order given (Holm 1979, with weights as in his section 5:
 * a hypothesis of twice the weight may spend twice the errors, and what fell leaves its share to those that are left).
 */
export function holm(ps: readonly number[], weights: readonly number[] = ps.map(() => 1), level = 0.05): boolean[] {
  const order = ps.map((p, i) => ({ p, i, weight: weights[i]! })).sort((a, b) => a.p / a.weight - b.p / b.weight);
  const fallen = ps.map(() => false);
  let left = order.reduce((sum, { weight }) => sum + weight, 0);
  for (const { p, i, weight } of order) {
    if (p > (level * weight) / left) break;
    fallen[i] = true;
    left -= weight;
  }
  return fallen;
}

/** Hypotheses by the questions that they belong to: of axes their parts, of those their hypotheses. */
type Axes = readonly (readonly (readonly number[])[])[];

/** All at once, the errors shared equally: first among the axes, then among the parts of each, then within a part. Empty ones take none. */
export function holmByAxes(axes: Axes): boolean[] {
  const asked = axes.map((parts) => parts.filter((ps) => ps.length > 0)).filter((parts) => parts.length > 0);
  const weighted = asked.flatMap((parts) =>
    parts.flatMap((ps) => ps.map((p) => ({ p, weight: 1 / (asked.length * parts.length * ps.length) }))),
  );
  return holm(
    weighted.map(({ p }) => p),
    weighted.map(({ weight }) => weight),
  );
}
