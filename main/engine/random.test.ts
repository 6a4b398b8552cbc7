/** @file The generator repeats itself from a seed, and its numbers look as they should. */
import { expect, test } from 'vitest';
import { Random } from './random.ts';

test('the same seed gives the same numbers, another seed gives others', () => {
  const draw = (seed: number): number[] =>
    Array.from(
      { length: 5 },
      (
        (r) => () =>
          r.next()
      )(new Random(seed)),
    );
  expect(draw(42)).toEqual(draw(42));
  expect(draw(42)).not.toEqual(draw(43));
});

test('uniform, integer and normal numbers have their means and ranges', () => {
  const random = new Random(1);
  const n = 20000;
  let [mean, square] = [0, 0];
  const counts = new Array<number>(5).fill(0);
  for (let i = 0; i < n; i++) {
    const x = random.normal();
    mean += x / n;
    square += (x * x) / n;
    const k = random.int(5);
    counts[k] = counts[k]! + 1;
  }
  expect(Math.abs(mean)).toBeLessThan(0.03);
  expect(Math.abs(square - 1)).toBeLessThan(0.05);
  for (const count of counts) expect(Math.abs(count - n / 5)).toBeLessThan(250);
});
