/**
 * @file Float32 numbers to GGUF's block types. The types of 32 numbers come out bit-equal to the gguf package's `quantize`,
 * which has no K-types; those are searched for by weighted least squares, and their layout is what blocks.ts reads.
 */
import { roundToBfloat16, roundToFloat16 } from '../floats.ts';

export const QUANTISED = [
  'F32',
  'F16',
  'BF16',
  'Q8_0',
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q4_K',
  'Q5_K',
  'Q6_K',
] as const;
export type QuantisedType = (typeof QUANTISED)[number];

interface Encoder {
  /** ggml_type. */
  readonly type: number;
  readonly elements: number;
  readonly bytes: number;
  /** Writes the block that begins at number `from` to byte `at`. */
  block(source: Float32Array, from: number, out: DataView, at: number): void;
}

const f = Math.fround;
const half = (value: number): number => roundToFloat16(Float32Array.of(value))[0]!;
/** The float32 that a half keeps of a number. */
const asHalf = Math.f16round;
const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));
/** One over it, and 0 for 0. */
const inverse = (value: number): number => (value === 0 ? 0 : f(1 / value));

/** The number that is farthest from 0, with its sign; the first of several. */
function farthest(source: Float32Array, from: number, count: number): number {
  let [best, size] = [0, -1];
  for (let i = from; i < from + count; i++)
    if (Math.abs(source[i]!) > size) [best, size] = [source[i]!, Math.abs(source[i]!)];
  return best;
}
function range(source: Float32Array, from: number, count: number): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity];
  for (let i = from; i < from + count; i++) {
    low = Math.min(low, source[i]!);
    high = Math.max(high, source[i]!);
  }
  return [low, high];
}

/** Sixteen bytes of the low four bits of 32 numbers: the first half in the low nibbles, the second in the high. */
function nibbles(quanta: Uint8Array, out: DataView, at: number): void {
  for (let i = 0; i < 16; i++) out.setUint8(at + i, (quanta[i]! & 15) | ((quanta[i + 16]! & 15) << 4));
}
/** The fifth bits of 32 numbers. */
function fifths(quanta: Uint8Array): number {
  let bits = 0;
  for (let i = 0; i < 32; i++) bits |= (quanta[i]! >> 4) << i;
  return bits >>> 0;
}

const quanta = new Uint8Array(32);

/** Around 0: the farthest number becomes the lowest quantum. */
function symmetric(bits: 4 | 5): Encoder['block'] {
  const zero = 1 << (bits - 1);
  return (source, from, out, at) => {
    const d = f(farthest(source, from, 32) / -zero);
    const id = inverse(d);
    // In double precision, as the reference has it.
    for (let i = 0; i < 32; i++)
      quanta[i] = clamp(Math.trunc(f(source[from + i]! * id + (zero + 0.5))), 0, 2 * zero - 1);
    out.setUint16(at, half(d), true);
    if (bits === 5) out.setUint32(at + 2, fifths(quanta), true);
    nibbles(quanta, out, at + (bits === 5 ? 6 : 2));
  };
}

/** From the least number to the greatest. */
function affine(bits: 4 | 5): Encoder['block'] {
  const most = (1 << bits) - 1;
  return (source, from, out, at) => {
    const [low, high] = range(source, from, 32);
    const d = f(f(high - low) / most);
    const id = inverse(d);
    for (let i = 0; i < 32; i++) quanta[i] = clamp(Math.trunc(f(f(f(source[from + i]! - low) * id) + 0.5)), 0, most);
    out.setUint16(at, half(d), true);
    out.setUint16(at + 2, half(low), true);
    if (bits === 5) out.setUint32(at + 4, fifths(quanta), true);
    nibbles(quanta, out, at + (bits === 5 ? 8 : 4));
  };
}

const q8: Encoder['block'] = (source, from, out, at) => {
  const d = f(Math.abs(farthest(source, from, 32)) / 127);
  const id = inverse(d);
  out.setUint16(at, half(d), true);
  for (let i = 0; i < 32; i++) {
    const value = f(source[from + i]! * id);
    // Halves away from 0.
    out.setInt8(at + 2 + i, Math.sign(value) * Math.floor(Math.abs(value) + 0.5));
  }
};

// ---- K-types: 256 numbers with one or two halves, and small scales of parts.

/** Large numbers count more: an error in them moves the product more. */
const weightOf = (value: number, mean: number): number => mean + Math.abs(value);

/** Steps around the obvious scale that are tried. */
const TRIES = 9;

/** The scale for quanta in [-32, 31] with the least weighted squared error. */
function bestScale(source: Float32Array, from: number, count: number): number {
  const far = farthest(source, from, count);
  if (far === 0) return 0;
  let [best, gain] = [0, -1];
  for (let step = -TRIES; step <= TRIES; step++) {
    const inverseScale = -(32 + 0.1 * step) / far;
    let [xq, qq] = [0, 0];
    for (let i = from; i < from + count; i++) {
      const x = source[i]!;
      const q = clamp(Math.round(inverseScale * x), -32, 31);
      xq += x * x * x * q;
      qq += x * x * q * q;
    }
    // The error is that of all numbers less xq^2 / qq.
    if (qq > 0 && xq * xq > gain * qq) [best, gain] = [xq / qq, (xq * xq) / qq];
  }
  return best;
}

const q6k: Encoder['block'] = (source, from, out, at) => {
  const scales = Array.from({ length: 16 }, (_, part) => bestScale(source, from + 16 * part, 16));
  const far = scales.reduce((best, scale) => (Math.abs(scale) > Math.abs(best) ? scale : best), 0);
  const d = asHalf(far / -128);
  for (let part = 0; part < 16; part++)
    out.setInt8(at + 192 + part, d === 0 ? 0 : clamp(Math.round(scales[part]! / d), -128, 127));
  out.setUint16(at + 208, half(d), true);
  const value = (index: number): number => {
    const scale = d * out.getInt8(at + 192 + (index >> 4));
    return scale === 0 ? 32 : clamp(Math.round(source[from + index]! / scale), -32, 31) + 32;
  };
  for (let part = 0; part < 2; part++)
    for (let i = 0; i < 32; i++) {
      const q = [0, 32, 64, 96].map((quarter) => value(128 * part + quarter + i)) as [number, number, number, number];
      out.setUint8(at + 64 * part + i, (q[0] & 15) | ((q[2] & 15) << 4));
      out.setUint8(at + 64 * part + 32 + i, (q[1] & 15) | ((q[3] & 15) << 4));
      out.setUint8(
        at + 128 + 32 * part + i,
        (q[0] >> 4) | ((q[1] >> 4) << 2) | ((q[2] >> 4) << 4) | ((q[3] >> 4) << 6),
      );
    }
};

/** Scale and minimum (taken off, 0 or more) for 32 numbers and quanta from 0 to `most`, with the least weighted squared error. */
function bestRange(source: Float32Array, from: number, most: number): [scale: number, minimum: number] {
  const [low, high] = range(source, from, 32);
  const bottom = Math.min(0, low);
  if (high <= bottom) return [0, -bottom];
  let mean = 0;
  for (let i = 0; i < 32; i++) mean += source[from + i]! ** 2 / 32;
  mean = Math.sqrt(mean);
  let best: [number, number] = [(high - bottom) / most, -bottom];
  let least = Infinity;
  for (let step = -TRIES; step <= TRIES; step++) {
    const inverseScale = (most + 0.1 * step) / (high - bottom);
    let [w, wq, wqq, wx, wxq] = [0, 0, 0, 0, 0];
    for (let i = 0; i < 32; i++) {
      const x = source[from + i]!;
      const weight = weightOf(x, mean);
      const q = clamp(Math.round(inverseScale * (x - bottom)), 0, most);
      w += weight;
      wq += weight * q;
      wqq += weight * q * q;
      wx += weight * x;
      wxq += weight * x * q;
    }
    // Least squares of x = scale q - minimum; a minimum below 0 cannot be kept, so then it is 0.
    const determinant = w * wqq - wq * wq;
    if (determinant <= 0) continue;
    let scale = (w * wxq - wq * wx) / determinant;
    let minimum = -(wqq * wx - wq * wxq) / determinant;
    if (minimum < 0) [scale, minimum] = [wxq / wqq, 0];
    if (scale <= 0) continue;
    let error = 0;
    for (let i = 0; i < 32; i++) {
      const x = source[from + i]!;
      const q = clamp(Math.round((x + minimum) / scale), 0, most);
      error += weightOf(x, mean) * (scale * q - minimum - x) ** 2;
    }
    if (error < least) [best, least] = [[scale, minimum], error];
  }
  return best;
}

/** Eight groups of 32, each with six bits of scale and of minimum. `highs`: byte place of the fifth bits, for five. */
function grouped(bits: 4 | 5): Encoder['block'] {
  const most = (1 << bits) - 1;
  return (source, from, out, at) => {
    const found = Array.from({ length: 8 }, (_, group) => bestRange(source, from + 32 * group, most));
    const d = asHalf(Math.max(...found.map(([scale]) => scale)) / 63);
    const dmin = asHalf(Math.max(...found.map(([, minimum]) => minimum)) / 63);
    const sixBits = found.map(
      ([scale, minimum]) =>
        [
          d === 0 ? 0 : clamp(Math.round(scale / d), 0, 63),
          dmin === 0 ? 0 : clamp(Math.round(minimum / dmin), 0, 63),
        ] as const,
    );
    out.setUint16(at, half(d), true);
    out.setUint16(at + 2, half(dmin), true);
    for (let j = 0; j < 4; j++) {
      const [[scale, minimum], [scale4, minimum4]] = [sixBits[j]!, sixBits[j + 4]!];
      out.setUint8(at + 4 + j, scale | ((scale4 >> 4) << 6));
      out.setUint8(at + 8 + j, minimum | ((minimum4 >> 4) << 6));
      out.setUint8(at + 12 + j, (scale4 & 15) | ((minimum4 & 15) << 4));
    }
    const highs = at + 16;
    const lows = bits === 5 ? at + 48 : at + 16;
    if (bits === 5) for (let i = 0; i < 32; i++) out.setUint8(highs + i, 0);
    for (let group = 0; group < 8; group++) {
      const [scale, minimum] = [d * sixBits[group]![0], dmin * sixBits[group]![1]];
      for (let i = 0; i < 32; i++) {
        const x = source[from + 32 * group + i]!;
        const q = scale === 0 ? 0 : clamp(Math.round((x + minimum) / scale), 0, most);
        const place = lows + 32 * (group >> 1) + i;
        out.setUint8(place, group & 1 ? out.getUint8(place) | ((q & 15) << 4) : q & 15);
        if (bits === 5) out.setUint8(highs + i, out.getUint8(highs + i) | ((q >> 4) << group));
      }
    }
  };
}

const ENCODERS: Readonly<Record<Exclude<QuantisedType, 'F32' | 'F16' | 'BF16'>, Encoder>> = {
  Q4_0: { type: 2, elements: 32, bytes: 18, block: symmetric(4) },
  Q4_1: { type: 3, elements: 32, bytes: 20, block: affine(4) },
  Q5_0: { type: 6, elements: 32, bytes: 22, block: symmetric(5) },
  Q5_1: { type: 7, elements: 32, bytes: 24, block: affine(5) },
  Q8_0: { type: 8, elements: 32, bytes: 34, block: q8 },
  Q4_K: { type: 12, elements: 256, bytes: 144, block: grouped(4) },
  Q5_K: { type: 13, elements: 256, bytes: 176, block: grouped(5) },
  Q6_K: { type: 14, elements: 256, bytes: 210, block: q6k },
};
const FLOATS = { F32: [0, 4], F16: [1, 2], BF16: [30, 2] } as const;

/** ggml_type of a way of storing. */
export const ggmlType = (storage: QuantisedType): number =>
  storage in FLOATS ? FLOATS[storage as 'F32'][0] : ENCODERS[storage as 'Q8_0'].type;

/** Numbers that share a block: rows must divide by it. */
export const blockSize = (storage: QuantisedType): number =>
  storage in FLOATS ? 1 : ENCODERS[storage as 'Q8_0'].elements;

/** Bytes of so many numbers, which must be whole blocks. */
export const quantisedBytes = (storage: QuantisedType, count: number): number => {
  if (storage in FLOATS) return count * FLOATS[storage as 'F32'][1];
  const { elements, bytes } = ENCODERS[storage as 'Q8_0'];
  return (count / elements) * bytes;
};

/** @param source whole blocks. @returns the bytes as they lie in the file. */
export function quantise(source: Float32Array, storage: QuantisedType): Uint8Array {
  const bytesOf = (array: ArrayBufferView): Uint8Array =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (storage === 'F32') return bytesOf(source);
  if (storage === 'F16') return bytesOf(roundToFloat16(source));
  if (storage === 'BF16') return bytesOf(roundToBfloat16(source));
  const { elements, bytes, block } = ENCODERS[storage];
  const out = new Uint8Array((source.length / elements) * bytes);
  const view = new DataView(out.buffer);
  for (let from = 0, at = 0; from < source.length; from += elements, at += bytes) block(source, from, view, at);
  return out;
}
