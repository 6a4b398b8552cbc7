/** @file Rounding by what was seen: what it gains over the nearest steps, and inputs of every kind. */
import { afterAll, describe, expect, it } from 'vitest';
import { Random } from '../random.ts';
import { tensor, type Tensors } from '../segments/session.ts';
import { unpackedInt4 } from '../../../test/support/int4.ts';
import { feedback, Gptq, groupSizes, noMoments, type Moments } from './gptq.ts';

const random = new Random(11);
const gptq = new Gptq(1);
afterAll(() => gptq.release());

/** Sums of x x' of inputs that go together: each is its neighbour's, and something of its own. */
function momentsOf(size: number): Moments {
  const moments = new Float64Array(size * size);
  for (let row = 0; row < 4 * size; row++) {
    let last = random.normal();
    const x = Float64Array.from({ length: size }, (_, i) => {
      last = 0.9 * last + 0.5 * random.normal();
      return last * (1 + (i % 5));
    });
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) moments[i * size + j]! += x[i]! * x[j]!;
  }
  return moments;
}

/** tr(E H E'), the squared error of all outputs over what was seen. */
function loss(errors: Float32Array, from: number, groups: readonly Moments[]): number {
  let sum = 0;
  for (let o = 0; o < errors.length; o += from) {
    let start = o;
    for (const moments of groups) {
      const size = Math.sqrt(moments.length);
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++) sum += errors[start + i]! * errors[start + j]! * moments[i * size + j]!;
      start += size;
    }
  }
  return sum;
}

const weightOf = (to: number, from: number): Float32Array =>
  Float32Array.from({ length: to * from }, () => random.normal());

const roundedBy = (moments: readonly Moments[], weight: Float32Array, shape: [number, number]): Promise<Tensors> =>
  gptq.round([{ name: 'w', tensor: tensor(weight, shape) }], moments);

describe('groups of inputs', () => {
  it.each([
    [576, [288, 288]],
    [1536, Array(4).fill(384)],
    [96, [96]],
    [80, [80]],
    [400, [224, 176]],
  ])('%i inputs are cut evenly, in whole blocks', (from, sizes) => {
    expect(groupSizes(from)).toEqual(sizes);
  });
});

describe('what errors give on', () => {
  it('makes a diagonal matrix of the damped moments, as a factor of their inverse does', () => {
    const size = 40;
    const moments = momentsOf(size);
    const { squares, pushes } = feedback(moments);
    const damped = moments.map((x, at) => (at % (size + 1) === 0 ? squares[at / (size + 1)]! : x));
    const at = (i: number, j: number): number => pushes[i * size + j]!;
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        expect(at(i, j)).toBe(i === j ? 1 : i > j ? 0 : at(i, j));
        let sum = 0;
        for (let m = 0; m < size; m++)
          for (let n = 0; n < size; n++) sum += at(i, m) * damped[m * size + n]! * at(j, n);
        if (i !== j) expect(Math.abs(sum)).toBeLessThan(1e-9 * squares[0]! * 25);
      }
  });
});

describe('a weight', () => {
  it.each([
    [24, 96],
    [7, 80],
    [16, 576],
  ])('[%i, %i] has outputs of less than half the squared error of what is rounded unseen', async (to, from) => {
    const weight = weightOf(to, from);
    const groups = groupSizes(from).map(momentsOf);
    const lost = async (by: readonly Moments[]): Promise<number> => {
      const rounded = unpackedInt4(await roundedBy(by, weight, [to, from]), 'w', [to, from]);
      return loss(
        weight.map((x, i) => x - rounded[i]!),
        from,
        groups,
      );
    };
    expect(await lost(groups)).toBeLessThan((await lost(noMoments(from))) / 2);
  });

  it('with an input that is never used beside others is rounded as if it were alone', async () => {
    const [to, from, unused] = [4, 64, 40];
    const moments = momentsOf(from);
    for (let i = 0; i < from; i++) moments[i * from + unused] = moments[unused * from + i] = 0;
    const weight = weightOf(to, from);
    const rounded = unpackedInt4(await roundedBy([moments], weight, [to, from]), 'w', [to, from]);
    // No farther than its block's range in 15 steps allows.
    for (let o = 0; o < to; o++)
      expect(Math.abs(rounded[o * from + unused]! - weight[o * from + unused]!)).toBeLessThan(0.5);
  });

  it('behind inputs that are no numbers is refused', async () => {
    const moments = momentsOf(32).fill(Number.NaN, 5, 6);
    moments[0] = Number.POSITIVE_INFINITY;
    await expect(roundedBy([moments], weightOf(2, 32), [2, 32])).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
  });

  it('of zeros, of one number, and behind inputs that are never used stays what it was', async () => {
    const [to, from] = [3, 64];
    for (const [weight, moments] of [
      [new Float32Array(to * from), momentsOf(from)],
      [new Float32Array(to * from).fill(-0.25), momentsOf(from)],
      [new Float32Array(to * from).map((_, i) => (i % 16) - 3), new Float64Array(from * from)],
    ] as const) {
      const made = await roundedBy([moments], weight, [to, from]);
      unpackedInt4(made, 'w', [to, from]).forEach((x, i) => expect(x).toBeCloseTo(weight[i]!, 5));
    }
  });

  it('keeps zero as zero, and takes at most 0.35 of what float16 takes', async () => {
    const [to, from] = [24, 96];
    const weight = weightOf(to, from).map((x, i) => (i % 5 === 0 ? 0 : x));
    const made = await roundedBy(noMoments(from), weight, [to, from]);
    unpackedInt4(made, 'w', [to, from]).forEach((x, i) => weight[i] === 0 && expect(x).toBe(0));
    const bytes = Object.values(made).reduce((sum, { data }) => sum + (data as Uint8Array).byteLength, 0);
    expect(bytes / (2 * weight.length)).toBeLessThan(0.35);
  });
});
