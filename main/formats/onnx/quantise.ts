/** @file Weights in 8 or 4 bits by blocks of 32, as ONNX Runtime's MatMulNBits and GatherBlockQuantized read them. */
import { fit, LARGEST_STEP, range } from '../steps.ts';

/** Numbers that share a scale. */
export const BLOCK = 32;

export type Bits = 4 | 8;

export interface Quantised {
  /** Unsigned; in 4 bits two a byte, the first one low. [rows, columns * bits / 8] */
  readonly values: Uint8Array;
  /** [rows, columns / BLOCK] */
  readonly scales: Float32Array;
  /** What stands for zero in each block, packed as the values are, each row in whole bytes. Null where it is 128 everywhere. */
  readonly zeroPoints: Uint8Array | null;
}

/** Blocks must divide the rows. */
export const dividesByBlocks = (columns: number): boolean => columns % BLOCK === 0;

/** Bytes of the zero points of one row in 4 bits. */
export const zeroPointBytes = (columns: number): number => Math.ceil(columns / BLOCK / 2);

/** @param columns length of a row of `weights`, a multiple of BLOCK. */
export function quantiseBlocks(weights: Float32Array, columns: number, bits: Bits): Quantised {
  return bits === 8 ? inEight(weights) : inFour(weights, columns);
}

/** Symmetric: the largest number of a block becomes 127. */
function inEight(weights: Float32Array): Quantised {
  const values = new Uint8Array(weights.length);
  const scales = new Float32Array(weights.length / BLOCK);
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    let largest = 0;
    for (let i = start; i < start + BLOCK; i++) largest = Math.max(largest, Math.abs(weights[i]!));
    scales[block] = largest / 127;
    const steps = largest > 0 ? 127 / largest : 0;
    for (let i = start; i < start + BLOCK; i++) values[i] = weights[i]! * steps + 128.5;
  }
  return { values, scales, zeroPoints: null };
}

/** Ranges tried for each block, as shares of the one from its smallest to its largest number: a narrower one may be closer for most. */
const RANGES = [1, 0.9, 0.8, 0.7];

/** Errors count alike. */
const ALIKE = new Float64Array(BLOCK).fill(1);

/** With a zero point a block; scale and zero point are those of the least squared error among the ranges tried. */
function inFour(weights: Float32Array, columns: number): Quantised {
  const blocks = columns / BLOCK;
  const rows = weights.length / columns;
  const rowBytes = zeroPointBytes(columns);
  const values = new Uint8Array(weights.length / 2);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * rowBytes);
  const [best, tried] = [new Uint8Array(BLOCK), new Uint8Array(BLOCK)];
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < blocks; block++) {
      const at = row * columns + block * BLOCK;
      const numbers = weights.subarray(at, at + BLOCK);
      const [low, high] = range(numbers);
      let [scale, zero, error] = [0, 8, Infinity];
      best.fill(8);
      const attempt = (step: number, shift: number): void => {
        const found = fit(numbers, ALIKE, step, shift, tried);
        if (found.error >= error) return;
        ({ scale, error } = found);
        zero = shift;
        best.set(tried);
      };
      const span = high - low;
      const ideal = span > 0 ? (-LARGEST_STEP * low) / span : 0;
      for (const shift of span > 0 ? new Set([Math.floor(ideal), Math.ceil(ideal)]) : []) {
        for (const share of RANGES) attempt((span * share) / LARGEST_STEP, shift);
        // Steps that meet one end of the range from where zero stands now.
        if (shift > 0) attempt(-low / shift, shift);
        if (shift < LARGEST_STEP) attempt(high / (LARGEST_STEP - shift), shift);
      }
      // Numbers rounded once more by the scale that was best for them.
      if (scale > 0) attempt(scale, zero);
      scales[row * blocks + block] = scale;
      for (let i = 0; i < BLOCK; i += 2) values[(at + i) / 2] = best[i]! | (best[i + 1]! << 4);
      zeroPoints[row * rowBytes + (block >> 1)]! |= zero << (4 * (block & 1));
    }
  return { values, scales, zeroPoints };
}
