/** @file 16-bit floats: widening to float32 (exact) and rounding to nearest, ties to even. Halves are kept as 16-bit words. */

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** bfloat16: the upper half of a float32. */
export function widenBfloat16(source: Uint16Array): Float32Array {
  const out = new Uint32Array(source.length);
  for (let i = 0; i < source.length; i++) out[i] = source[i]! << 16;
  return new Float32Array(out.buffer);
}

/** IEEE 754 binary16. */
export const widenFloat16 = (source: Uint16Array): Float32Array =>
  new Float32Array(new Float16Array(source.buffer, source.byteOffset, source.length));

let table: Float32Array | undefined;

/** The float32 of each of the 65,536 halves. */
export const float16Table = (): Float32Array =>
  (table ??= widenFloat16(Uint16Array.from({ length: 65536 }, (_, half) => half)));

export function roundToBfloat16(source: Float32Array): Uint16Array {
  const out = new Uint16Array(source.length);
  for (let i = 0; i < source.length; i++) {
    float[0] = source[i]!;
    const bits = word[0]!;
    // A NaN must not round to infinity.
    out[i] = (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return out;
}

export const roundToFloat16 = (source: Float32Array): Uint16Array => new Uint16Array(new Float16Array(source).buffer);
