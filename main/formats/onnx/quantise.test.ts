/** @file Weights in blocks of eight and four bits for ONNX: how near they stay. */
import { describe, expect, it } from 'vitest';
import { BLOCK, quantiseBlocks, zeroPointBytes, type Bits } from './quantise.ts';

/** As the operators' definition reads them: (value - zero point) * scale. */
function read(weights: Float32Array, columns: number, bits: Bits): Float32Array {
  const { values, scales, zeroPoints } = quantiseBlocks(weights, columns, bits);
  const perRow = columns / BLOCK;
  const nibble = (bytes: Uint8Array, i: number): number => (bytes[i >> 1]! >> (4 * (i & 1))) & 15;
  return weights.map((_, i) => {
    const block = Math.floor(i / BLOCK);
    const [row, place] = [Math.floor(block / perRow), block % perRow];
    const zero = zeroPoints ? nibble(zeroPoints.subarray(row * zeroPointBytes(columns)), place) : 128;
    return ((bits === 8 ? values[i]! : nibble(values, i)) - zero) * scales[block]!;
  });
}
/** Root of the mean squared difference, over that of the numbers. */
function off(weights: Float32Array, columns: number, bits: Bits): number {
  const got = read(weights, columns, bits);
  const square = (of: (i: number) => number): number => weights.reduce((sum, _, i) => sum + of(i) ** 2, 0);
  return Math.sqrt(square((i) => got[i]! - weights[i]!) / square((i) => weights[i]!));
}

describe('weights by blocks of 32', () => {
  // Sums of sines: like noise, and the same everywhere.
  const noise = Float32Array.from({ length: 6 * 96 }, (_, i) => Math.sin(i * 12.9898) + Math.sin(i * 78.233));

  it('are near in eight bits and in four', () => {
    expect(off(noise, 96, 8)).toBeLessThan(0.006);
    expect(off(noise, 96, 4)).toBeLessThan(0.1);
  });

  it('keep numbers that lie on a grid of sixteen as they are, whatever stands for zero', () => {
    const grid = Float32Array.from({ length: 96 }, (_, i) => 0.25 * ((i % 16) - [3, 12, 0][Math.floor(i / 32)]!));
    expect(Array.from(read(grid, 96, 4))).toEqual(Array.from(grid));
  });

  it('are zero where a block is zero', () => {
    const zeros = new Float32Array(64);
    expect([...read(zeros, 64, 8), ...read(zeros, 64, 4)].every((value) => value === 0)).toBe(true);
  });

  it('are never worse for trying narrower ranges than by their smallest and largest number', () => {
    const outlier = noise.slice(0, 32);
    outlier[5] = 40;
    const step = (40 - Math.min(...outlier)) / 15;
    const zero = Math.round(-Math.min(...outlier) / step);
    const plain = outlier.map((value) => (Math.min(15, Math.max(0, Math.round(value / step) + zero)) - zero) * step);
    const error = (got: Float32Array): number => got.reduce((sum, value, i) => sum + (value - outlier[i]!) ** 2, 0);
    expect(error(read(outlier, 32, 4))).toBeLessThanOrEqual(error(plain) + 1e-6);
  });
});
