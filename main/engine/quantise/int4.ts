/** @file Weights in 4 bits, in blocks of 32 inputs with a scale and a zero point each: one copy for both directions. */
import { Tensor } from 'onnxruntime-node';
import { numbers, tensor, type Tensors } from '../segments/session.ts';

/** Weights that share a scale. Smaller blocks follow outliers better and take more room: 32 makes 5.3 bits a weight. */
export const BLOCK = 32;
const LARGEST = 15;

/** Names of a 4-bit weight's tensors as inputs of a segment, after the weight's own name. */
export const int4Names = (weight: string) => ({
  /** uint8 [to, blocks, BLOCK / 2]; the even input is in the low half of a byte. */
  bits: `${weight}.bits`,
  /** float32 [to * blocks] */
  scale: `${weight}.bits.scale`,
  /** uint8 [to * blocks] */
  zero: `${weight}.bits.zero`,
});

/** Rounds a weight [to, from] to 16 steps a block between its smallest and its largest number, of which one is 0 itself. */
export function int4Weight(name: string, given: Tensor): Tensors {
  const [to, from] = given.dims as [number, number];
  const weight = numbers(given);
  const blocks = Math.ceil(from / BLOCK);
  const bits = new Uint8Array((to * blocks * BLOCK) / 2);
  const scale = new Float32Array(to * blocks);
  const zero = new Uint8Array(to * blocks);
  for (let o = 0; o < to; o++)
    for (let b = 0; b < blocks; b++) {
      const start = o * from + b * BLOCK;
      const length = Math.min(BLOCK, from - b * BLOCK);
      let [low, high] = [0, 0];
      for (let i = start; i < start + length; i++) {
        low = Math.min(low, weight[i]!);
        high = Math.max(high, weight[i]!);
      }
      const block = o * blocks + b;
      const step = Math.fround((high - low) / LARGEST) || 1;
      const at = Math.round(-low / step);
      scale[block] = step;
      zero[block] = at;
      for (let i = 0; i < BLOCK; i++) {
        // What fills up the last block is zero.
        const value = i < length ? Math.round(weight[start + i]! / step) + at : at;
        bits[(block * BLOCK + i) >> 1]! |= Math.max(0, Math.min(LARGEST, value)) << (4 * (i & 1));
      }
    }
  const names = int4Names(name);
  return {
    [names.bits]: new Tensor('uint8', bits, [to, blocks, BLOCK / 2]),
    [names.scale]: tensor(scale, [to * blocks]),
    [names.zero]: new Tensor('uint8', zero, [to * blocks]),
  };
}
