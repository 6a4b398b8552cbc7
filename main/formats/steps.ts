/** @file The 16 steps that a block of numbers is rounded to in 4 bits: a scale, and what stands for zero. */

/** Of the steps 0 to 15. */
export const LARGEST_STEP = 15;

/** A value q stands for (q - zero) * scale. */
export interface Steps {
  readonly scale: number;
  readonly zero: number;
}

/** From the smallest to the largest number, with zero always within, so that its stand-in is one of the steps. */
export function range(block: Float32Array | Float64Array): [low: number, high: number] {
  let [low, high] = [0, 0];
  for (const x of block) {
    if (x < low) low = x;
    if (x > high) high = x;
  }
  return [low, high];
}

/**
 * Rounds a block to steps of a size, and takes the scale that is best for what they have become.
 * @param weigh what each number's squared error counts.
 * @param into the steps.
 * @returns that scale, and the weighted sum of squared errors.
 */
export function fit(
  block: Float32Array | Float64Array,
  weigh: Float64Array,
  size: number,
  zero: number,
  into: Uint8Array,
): { readonly scale: number; readonly error: number } {
  const steps = 1 / size;
  // Cutting what is never negative rounds it, and is much quicker than Math.round.
  const half = zero + 0.5;
  let product = 0;
  let square = 0;
  let total = 0;
  for (let i = 0; i < block.length; i++) {
    const x = block[i]!;
    const place = x * steps + half;
    const value = place < 0 ? 0 : place > LARGEST_STEP ? LARGEST_STEP : place | 0;
    into[i] = value;
    const centred = value - zero;
    const weighed = weigh[i]! * centred;
    product += weighed * x;
    square += weighed * centred;
    total += weigh[i]! * x * x;
  }
  const scale = square > 0 ? product / square : 0;
  // Of the weighted sum of (scale * centred - x)^2.
  return { scale, error: total - scale * product };
}
