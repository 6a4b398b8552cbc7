/**
 * @file Memory for what is large and lives long: weights, activations, values that are trained. It is mapped by itself, as memory
 * that could grow is, so that it leaves no holes in the heap from which the runtime takes what lives between ops.
 */
import type { Tensor } from 'onnxruntime-node';
import type { DType } from '../graph/value.ts';
import { weightTensor, type WeightData } from './session.ts';

/** Bytes from which it is worth pages of its own. */
const LARGE = 2 ** 18;

const howLarge = (bytes: number): { maxByteLength?: number } => (bytes < LARGE ? {} : { maxByteLength: bytes });

const mappedBytes = (bytes: number): ArrayBuffer => new ArrayBuffer(bytes, howLarge(bytes));

export const mappedFloats = (size: number): Float32Array =>
  new Float32Array(mappedBytes(size * Float32Array.BYTES_PER_ELEMENT), 0, size);

/** Memory that threads share. It cannot be given back at once (formats/discard.ts). */
export const sharedBytes = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes, howLarge(bytes));

export const sharedFloats = (size: number): Float32Array =>
  new Float32Array(sharedBytes(size * Float32Array.BYTES_PER_ELEMENT), 0, size);

/** A copy of a tensor in memory of its own; itself where threads share its memory already, or need not and it is small. */
export function inMapped(given: Tensor, share: boolean): Tensor {
  const data = given.data as WeightData;
  const { byteLength, length } = data;
  if (data.buffer instanceof SharedArrayBuffer || (!share && byteLength < LARGE)) return given;
  const memory = share ? sharedBytes(byteLength) : mappedBytes(byteLength);
  const own = new (data.constructor as Uint8ArrayConstructor)(memory, 0, length);
  own.set(data);
  return weightTensor(given.type as DType, own, given.dims);
}
