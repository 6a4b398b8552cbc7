/** @file Weights in 4 bits as the numbers that they stand for. */
import { BLOCK, int4Names } from '../../main/engine/quantise/int4.ts';
import type { Tensors } from '../../main/engine/segments/session.ts';

/** [to, from] of the weight of that name. */
export function unpackedInt4(
  tensors: Tensors,
  weight: string,
  [to, from]: readonly [to: number, from: number],
): Float32Array {
  const names = int4Names(weight);
  const [bits, scale, zero] = [names.bits, names.scale, names.zero].map((name) => tensors[name]!.data as Uint8Array);
  const width = (bits!.length / to) * 2;
  return Float32Array.from({ length: to * from }, (_, i) => {
    const at = Math.floor(i / from) * width + (i % from);
    const block = Math.floor(at / BLOCK);
    return (((bits![at >> 1]! >> (4 * (at & 1))) & 15) - zero![block]!) * scale![block]!;
  });
}
