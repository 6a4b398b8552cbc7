/** @file Quantising against the gguf package, bit for bit, and the K-types by how near they come. test/numerics/oracle/gguf_quantise.py makes the fixture. */
import { readFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BLOCKS } from './blocks.ts';
import { ggmlType, QUANTISED, quantise, quantisedBytes, type QuantisedType } from './quantise.ts';
import { readGgufHeader } from './read.ts';

const FIXTURE = join(import.meta.dirname, '../../../test/fixtures/gguf/quantised.gguf');

async function bytesOf(name: string): Promise<Uint8Array> {
  const file = await open(FIXTURE, 'r');
  const { tensors } = await readGgufHeader(file, FIXTURE);
  await file.close();
  const { start, bytes } = tensors.find((each) => each.name === name)!;
  return new Uint8Array(await readFile(FIXTURE)).slice(start, start + bytes);
}

const widened = (storage: QuantisedType, source: Float32Array): Float32Array =>
  BLOCKS.get(ggmlType(storage))!.widen(quantise(source, storage));

describe('quantising', () => {
  it.each(['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1'] as const)(
    '%s gives the bytes of the gguf package',
    async (storage) => {
      const numbers = new Float32Array((await bytesOf('numbers')).buffer);
      expect(Buffer.from(quantise(numbers, storage)).equals(Buffer.from(await bytesOf(storage)))).toBe(true);
    },
  );

  /** Near a normal distribution: the sum of twelve numbers that follow each other without a pattern (Weyl). */
  const normal = (i: number): number =>
    Array.from({ length: 12 }, (_, k) => ((12 * i + k) * 0.6180339887498949) ** 2 % 1).reduce((a, b) => a + b, -6);
  const numbers = Float32Array.from({ length: 4096 }, (_, i) => 0.02 * normal(i) * (i % 512 === 7 ? 8 : 1));
  const error = (storage: QuantisedType): number =>
    Math.sqrt(
      widened(storage, numbers).reduce((sum, value, i) => sum + (value - numbers[i]!) ** 2, 0) /
        numbers.reduce((sum, value) => sum + value * value, 0),
    );

  it('brings more bits nearer, and K-types nearer than the plain ones of their bits', () => {
    expect(error('Q8_0')).toBeLessThan(0.007);
    expect(error('Q6_K')).toBeLessThan(0.025);
    expect(error('Q5_K')).toBeLessThan(error('Q5_0'));
    expect(error('Q5_K')).toBeLessThan(0.045);
    expect(error('Q4_K')).toBeLessThan(error('Q4_0'));
    expect(error('Q4_K')).toBeLessThan(0.09);
  });

  it('keeps zeros, constants and one side, and writes as many bytes as it says', () => {
    for (const storage of QUANTISED) {
      expect(widened(storage, new Float32Array(512)).every((value) => value === 0)).toBe(true);
      const same = widened(storage, new Float32Array(512).fill(-0.25));
      expect(Math.max(...same.map((value) => Math.abs(value + 0.25)))).toBeLessThan(0.02);
      const side = Float32Array.from({ length: 512 }, (_, i) => 3 + (i % 7) / 7);
      const kept = widened(storage, side);
      expect(Math.max(...kept.map((value, i) => Math.abs(value - side[i]!)))).toBeLessThan(0.5);
      expect(quantise(side, storage)).toHaveLength(quantisedBytes(storage, 512));
    }
  });
});
