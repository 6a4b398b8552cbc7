/** @file How GGUF stores numbers: for each type the size of a block and how it is widened to float32. Layouts as ggml-quants defines them. */
import { float16Table, widenBfloat16, widenFloat16 } from '../floats.ts';

type Storage = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q4_K' | 'Q5_K' | 'Q6_K';

export interface BlockType {
  readonly storage: Storage;
  readonly elements: number;
  readonly bytes: number;
  /** `source` holds whole blocks. Bit-equal to the gguf package's dequantize. */
  widen(source: Uint8Array): Float32Array;
}

type Half = (place: number) => number;

/** Widens block after block: `block` writes the numbers of the one at byte `at` to `out` from `to`. */
function blockwise(
  storage: Storage,
  elements: number,
  bytes: number,
  block: (source: Uint8Array, at: number, out: Float32Array, to: number, half: Half) => void,
): BlockType {
  return {
    storage,
    elements,
    bytes,
    widen(source) {
      const halves = float16Table();
      const half: Half = (place) => halves[source[place]! | (source[place + 1]! << 8)]!;
      const out = new Float32Array((source.length / bytes) * elements);
      for (let at = 0, to = 0; at < source.length; at += bytes, to += elements) block(source, at, out, to, half);
      return out;
    },
  };
}

/** A copy, so that the numbers are aligned whatever place they had. */
const own = (source: Uint8Array): ArrayBuffer => new Uint8Array(source).buffer;

const signed = (byte: number): number => (byte << 24) >> 24;

/** Scale and minimum number `j` of eight, packed in six bits each into the twelve bytes at `at`. */
function packedScale(source: Uint8Array, at: number, j: number): [scale: number, minimum: number] {
  if (j < 4) return [source[at + j]! & 63, source[at + j + 4]! & 63];
  return [
    (source[at + j + 4]! & 15) | ((source[at + j - 4]! >> 6) << 4),
    (source[at + j + 4]! >> 4) | ((source[at + j]! >> 6) << 4),
  ];
}

export const BLOCKS: ReadonlyMap<number, BlockType> = new Map<number, BlockType>([
  [0, { storage: 'F32', elements: 1, bytes: 4, widen: (source) => new Float32Array(own(source)) }],
  [1, { storage: 'F16', elements: 1, bytes: 2, widen: (source) => widenFloat16(new Uint16Array(own(source))) }],
  [30, { storage: 'BF16', elements: 1, bytes: 2, widen: (source) => widenBfloat16(new Uint16Array(own(source))) }],
  [
    8,
    blockwise('Q8_0', 32, 34, (source, at, out, to, half) => {
      const d = half(at);
      for (let i = 0; i < 32; i++) out[to + i] = d * signed(source[at + 2 + i]!);
    }),
  ],
  [
    2,
    blockwise('Q4_0', 32, 18, (source, at, out, to, half) => {
      const d = half(at);
      for (let i = 0; i < 16; i++) {
        const pair = source[at + 2 + i]!;
        out[to + i] = d * ((pair & 15) - 8);
        out[to + i + 16] = d * ((pair >> 4) - 8);
      }
    }),
  ],
  [
    3,
    blockwise('Q4_1', 32, 20, (source, at, out, to, half) => {
      const d = half(at);
      const m = half(at + 2);
      for (let i = 0; i < 16; i++) {
        const pair = source[at + 4 + i]!;
        out[to + i] = d * (pair & 15) + m;
        out[to + i + 16] = d * (pair >> 4) + m;
      }
    }),
  ],
  [
    6,
    blockwise('Q5_0', 32, 22, (source, at, out, to, half) => {
      const d = half(at);
      for (let i = 0; i < 16; i++) {
        const pair = source[at + 6 + i]!;
        out[to + i] = d * (((pair & 15) | (bit(source, at + 2, i) << 4)) - 16);
        out[to + i + 16] = d * (((pair >> 4) | (bit(source, at + 2, i + 16) << 4)) - 16);
      }
    }),
  ],
  [
    7,
    blockwise('Q5_1', 32, 24, (source, at, out, to, half) => {
      const d = half(at);
      const m = half(at + 2);
      for (let i = 0; i < 16; i++) {
        const pair = source[at + 8 + i]!;
        out[to + i] = d * ((pair & 15) | (bit(source, at + 4, i) << 4)) + m;
        out[to + i + 16] = d * ((pair >> 4) | (bit(source, at + 4, i + 16) << 4)) + m;
      }
    }),
  ],
  [
    12,
    blockwise('Q4_K', 256, 144, (source, at, out, to, half) => {
      kBlock(source, at, at + 16, out, to, half, (place, _, high) =>
        high ? source[place]! >> 4 : source[place]! & 15,
      );
    }),
  ],
  [
    13,
    blockwise('Q5_K', 256, 176, (source, at, out, to, half) => {
      kBlock(source, at, at + 48, out, to, half, (place, group, high) => {
        const i = (place - at - 48) % 32;
        const fifth = (source[at + 16 + i]! >> group) & 1;
        return (high ? source[place]! >> 4 : source[place]! & 15) | (fifth << 4);
      });
    }),
  ],
  [
    14,
    blockwise('Q6_K', 256, 210, (source, at, out, to, half) => {
      const d = half(at + 208);
      for (let part = 0; part < 2; part++)
        for (let quarter = 0; quarter < 4; quarter++)
          for (let i = 0; i < 32; i++) {
            const low = source[at + 64 * part + 32 * (quarter & 1) + i]!;
            const four = quarter < 2 ? low & 15 : low >> 4;
            const two = (source[at + 128 + 32 * part + i]! >> (2 * quarter)) & 3;
            const scale = signed(source[at + 192 + 8 * part + 2 * quarter + (i >> 4)]!);
            out[to + 128 * part + 32 * quarter + i] = d * scale * ((four | (two << 4)) - 32);
          }
    }),
  ],
]);

const bit = (source: Uint8Array, at: number, index: number): number => (source[at + (index >> 3)]! >> (index & 7)) & 1;

/** Eight groups of 32 with a scale and a minimum each; two groups share 32 bytes, one in the low halves, one in the high. */
function kBlock(
  source: Uint8Array,
  at: number,
  numbers: number,
  out: Float32Array,
  to: number,
  half: Half,
  quantum: (place: number, group: number, high: boolean) => number,
): void {
  const d = half(at);
  const dmin = half(at + 2);
  for (let group = 0; group < 8; group++) {
    const [scale, minimum] = packedScale(source, at + 4, group);
    const from = numbers + 32 * (group >> 1);
    for (let i = 0; i < 32; i++)
      out[to + 32 * group + i] = d * scale * quantum(from + i, group, (group & 1) === 1) - dmin * minimum;
  }
}

/** Types that exist and are not read, so that they can be refused by name. */
export const UNSUPPORTED_TYPES: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};
