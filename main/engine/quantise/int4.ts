/** @file Weights in 4 bits, in blocks of 32 inputs with a scale and a zero point each: one copy for both directions. */
import { Tensor } from 'onnxruntime-node';
import type { Steps } from '../../formats/steps.ts';
import { tensor, type Tensors } from '../segments/session.ts';

/** Weights that share a scale. Smaller blocks follow outliers better and take more room: 32 makes 5.3 bits a weight. */
export const BLOCK = 32;

/** Names of a 4-bit weight's tensors as inputs of a segment, after the weight's own name. */
export const int4Names = (weight: string) => ({
  /** uint8 [to, blocks, BLOCK / 2]; the even input is in the low half of a byte. */
  bits: `${weight}.bits`,
  /** float32 [to * blocks] */
  scale: `${weight}.bits.scale`,
  /** uint8 [to * blocks] */
  zero: `${weight}.bits.zero`,
});

/** A weight [to, from] in 4 bits, as it is filled block by block. */
export class Int4 {
  readonly blocks: number;
  readonly #to: number;
  readonly #bits: Uint8Array;
  readonly #scale: Float32Array;
  readonly #zero: Uint8Array;

  constructor(to: number, from: number) {
    this.blocks = Math.ceil(from / BLOCK);
    this.#to = to;
    this.#bits = new Uint8Array((to * this.blocks * BLOCK) / 2);
    this.#scale = new Float32Array(to * this.blocks);
    this.#zero = new Uint8Array(to * this.blocks);
  }

  /** @param values 0 to 15, of which `zero` stands for what fills up the last block. */
  put(output: number, block: number, { scale, zero }: Steps, values: Uint8Array): void {
    const at = output * this.blocks + block;
    this.#scale[at] = scale;
    this.#zero[at] = zero;
    for (let i = 0; i < BLOCK; i += 2) this.#bits[(at * BLOCK + i) / 2] = values[i]! | (values[i + 1]! << 4);
  }

  tensors(weight: string): Tensors {
    const names = int4Names(weight);
    return {
      [names.bits]: new Tensor('uint8', this.#bits, [this.#to, this.blocks, BLOCK / 2]),
      [names.scale]: tensor(this.#scale, [this.#scale.length]),
      [names.zero]: new Tensor('uint8', this.#zero, [this.#zero.length]),
    };
  }
}
