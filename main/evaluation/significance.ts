/** @file Whether a difference can be told from chance: a paired sign-flip test, and Holm's correction where several are judged at once. */
import { Random } from '../engine/random.ts';

const FLIPS = 4000;
const SEED = 20240611;

/**
 * Two-sided p of paired differences under the hypothesis that each could as well have had the other sign (Fisher's
 * randomisation; Good 2005). Exact where few differ, else by drawing.
 */
export function signFlip(differences: readonly number[]): number {
  const moved = differences.filter((difference) => difference !== 0);
  if (moved.length === 0) return 1;
  const observed = Math.abs(moved.reduce((a, b) => a + b, 0)) - 1e-12;
  if (moved.length <= 12) {
    const all = 2 ** moved.length;
    let extreme = 0;
    for (let signs = 0; signs < all; signs++) {
      const sum = moved.reduce((total, value, i) => total + ((signs >> i) & 1 ? value : -value), 0);
      if (Math.abs(sum) >= observed) extreme++;
    }
    return extreme / all;
  }
  const random = new Random(SEED);
  let extreme = 0;
  for (let flip = 0; flip < FLIPS; flip++) {
    let sum = 0;
    for (const value of moved) sum += random.bits() & 1 ? value : -value;
    if (Math.abs(sum) >= observed) extreme++;
  }
  return (extreme + 1) / (FLIPS + 1);
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
