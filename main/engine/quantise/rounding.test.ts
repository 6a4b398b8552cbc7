/** @file Rounded weights: how far they are from what they were, what they take, and what is stored of how they were rounded. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSafetensors, writeSafetensors } from '../../formats/safetensors.ts';
import { Random } from '../random.ts';
import type { Tensors } from '../segments/session.ts';
import { int8Names, int8Weight, roughness } from './int8.ts';
import { saturates } from './kernels.ts';
import { readRounding, roundingTensors } from './stored.ts';

const random = new Random(3);
const [TO, FROM] = [24, 96] as const;
const weight = Float32Array.from({ length: TO * FROM }, () => random.normal());
const data = (tensors: Tensors, name: string): ArrayLike<number> => tensors[name]!.data as ArrayLike<number>;

describe('a weight in 8 bits', () => {
  const peaks = Float32Array.from({ length: FROM }, (_, i) => 1 + (i % 7));
  it.each([127, 63])(
    'is within half a step of what it was, forward by output and back by input, up to %i',
    (largest) => {
      const names = int8Names('w');
      const rough = roughness([{ name: 'w', data: weight }], peaks);
      const made = int8Weight({ name: 'w', data: weight }, rough, largest);
      const read = (name: keyof typeof names): ArrayLike<number> => data(made, names[name]);
      for (let o = 0; o < TO; o++)
        for (let k = 0; k < FROM; k++) {
          const scaled = weight[o * FROM + k]! * rough[k]!;
          const steps = [read('forwardScale')[o]!, read('backwardScale')[k]!];
          const found = [read('forward')[k * TO + o]!, read('backward')[o * FROM + k]!];
          for (const [i, step] of steps.entries()) {
            expect(Math.abs(found[i]! * step - scaled)).toBeLessThanOrEqual(step * 0.5001);
            expect(Math.abs(found[i]!)).toBeLessThanOrEqual(largest);
          }
        }
    },
  );

  it('is shifted towards the inputs with the largest activations', () => {
    const factors = roughness([{ name: 'w', data: weight }], peaks);
    expect(factors[6]! / factors[0]!).toBeGreaterThan(1.5);
  });
});

it('how a base was rounded is read as it was written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-rounding-'));
  const rounding = {
    rows: [Int32Array.of(1, 49151), Int32Array.of(7)],
    peaks: new Map([['head', Float32Array.of(0.1, 2)]]),
    largest: 63,
  };
  await writeSafetensors(join(folder, 'r.safetensors'), roundingTensors(rounding));
  const file = await openSafetensors(join(folder, 'r.safetensors'));
  expect(await readRounding(file)).toEqual(rounding);
  await file.close();
  rmSync(folder, { recursive: true });
});

it('whether products of 8 bits saturate is found out by one that would', async () => {
  expect(await saturates({ threads: 1 })).toBeTypeOf('boolean');
});
