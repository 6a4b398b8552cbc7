/** @file Writes GGUF files for tests, byte by byte, so that a test can also write a wrong one. */

const TYPES = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;
type Scalar = Exclude<keyof typeof TYPES, 'array'>;

/** A value with its type: `['uint32', 4]`; a list: `['array', 'string', ['a', 'b']]`. */
export type Value =
  readonly [Scalar, string | number | boolean] | readonly ['array', Scalar, readonly (string | number | boolean)[]];

export interface TensorInfo {
  readonly name: string;
  /** Innermost first, as GGUF writes it. */
  readonly dimensions: readonly (number | bigint)[];
  readonly type: number;
  /** From the start of the data; where it is left out, the data are put one after the other. */
  readonly offset?: number | bigint;
  readonly data?: Uint8Array;
}

export interface GgufParts {
  readonly version?: number;
  readonly metadata?: readonly (readonly [string, Value])[];
  readonly tensors?: readonly TensorInfo[];
  readonly keyCount?: number | bigint;
  readonly tensorCount?: number | bigint;
  readonly alignment?: number;
}

export const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};
export const u64 = (value: number | bigint): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
};
export const ggufString = (text: string): Buffer => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);

function scalar(type: Scalar, value: string | number | boolean): Buffer {
  if (type === 'string') return ggufString(String(value));
  const view = new DataView(new ArrayBuffer(8));
  const number = Number(value);
  const write: Record<Exclude<Scalar, 'string'>, () => number> = {
    uint8: () => (view.setUint8(0, number), 1),
    int8: () => (view.setInt8(0, number), 1),
    bool: () => (view.setUint8(0, number), 1),
    uint16: () => (view.setUint16(0, number, true), 2),
    int16: () => (view.setInt16(0, number, true), 2),
    uint32: () => (view.setUint32(0, number, true), 4),
    int32: () => (view.setInt32(0, number, true), 4),
    float32: () => (view.setFloat32(0, number, true), 4),
    uint64: () => (view.setBigUint64(0, BigInt(number), true), 8),
    int64: () => (view.setBigInt64(0, BigInt(number), true), 8),
    float64: () => (view.setFloat64(0, number, true), 8),
  };
  return Buffer.from(view.buffer, 0, write[type]());
}

function typed(value: Value): Buffer[] {
  if (value[0] !== 'array') return [u32(TYPES[value[0]]), scalar(value[0], value[1])];
  const [, inner, list] = value;
  return [u32(TYPES.array), u32(TYPES[inner]), u64(list.length), ...list.map((each) => scalar(inner, each))];
}

export function ggufBytes({
  version = 3,
  metadata = [],
  tensors = [],
  keyCount,
  tensorCount,
  alignment = 32,
}: GgufParts): Buffer {
  const padded = (length: number): number => Math.ceil(length / alignment) * alignment;
  let end = 0;
  const infos = tensors.map(({ name, dimensions, type, offset, data }) => {
    const place = offset ?? end;
    end = padded(end + (data?.length ?? 0));
    return Buffer.concat([ggufString(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(place)]);
  });
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(version),
    u64(tensorCount ?? tensors.length),
    u64(keyCount ?? metadata.length),
    ...metadata.flatMap(([key, value]) => [ggufString(key), ...typed(value)]),
    ...infos,
  ]);
  const data = tensors.map(({ data: bytes = new Uint8Array() }) => Buffer.concat([bytes], padded(bytes.length)));
  return Buffer.concat([Buffer.concat([header], padded(header.length)), ...data]);
}
