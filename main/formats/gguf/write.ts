/** @file Writes a GGUF file of version 3: typed metadata, tensor infos, then one tensor after the other, so that no more than one lies in memory. */
import { open, rm, type FileHandle } from 'node:fs/promises';
import { toFettleError } from '../../contract/errors.ts';
import { writeAt } from '../write-at.ts';
import { ggmlType, quantise, quantisedBytes, type QuantisedType } from './quantise.ts';

const TYPES = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8 } as const;
const ARRAY = 9;
type Scalar = keyof typeof TYPES;
/** A value with its type: `['uint32', 4]`; a list: `['array', 'string', [...]]`. */
export type TypedValue =
  | readonly ['string', string]
  | readonly ['bool', boolean]
  | readonly ['uint32' | 'int32' | 'float32', number]
  | readonly ['array', 'string', readonly string[]]
  | readonly ['array', 'uint32' | 'int32' | 'float32', readonly number[]];
export type Metadata = readonly (readonly [key: string, value: TypedValue])[];

export interface GgufTensorToWrite {
  readonly name: string;
  /** Innermost last. */
  readonly shape: readonly number[];
  readonly storage: QuantisedType;
  read(): Promise<Float32Array>;
}

const ALIGNMENT = 32;
const aligned = (length: number): number => Math.ceil(length / ALIGNMENT) * ALIGNMENT;

/**
 * @param onTensor called before each tensor with the share of bytes that is written, 0 to 1; may throw to give up.
 * @throws DISK_FULL, FILE_UNREADABLE, and what a tensor's `read` throws; then no file is left.
 */
export async function writeGguf(
  path: string,
  metadata: Metadata,
  tensors: readonly GgufTensorToWrite[],
  onTensor: (share: number) => void = () => undefined,
): Promise<void> {
  const sizes = tensors.map(({ shape, storage }) => quantisedBytes(storage, product(shape)));
  const header = headerOf(metadata, tensors, sizes);
  const total = header.length + sizes.reduce((sum, size) => sum + aligned(size), 0);
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'wx');
    await writeAt(file, header, 0);
    let at = header.length;
    for (const [i, tensor] of tensors.entries()) {
      onTensor(at / total);
      const bytes = quantise(await tensor.read(), tensor.storage);
      await writeAt(file, bytes, at);
      at += aligned(sizes[i]!);
    }
    await file.truncate(total);
    await file.sync();
    await file.close();
  } catch (error) {
    await file?.close().catch(() => undefined);
    if (file) await rm(path, { force: true });
    throw toFettleError(error);
  }
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function headerOf(metadata: Metadata, tensors: readonly GgufTensorToWrite[], sizes: readonly number[]): Buffer {
  let offset = 0;
  const infos = tensors.map(({ name, shape, storage }, i) => {
    const at = offset;
    offset += aligned(sizes[i]!);
    const dimensions = shape.toReversed().map(u64);
    return Buffer.concat([text(name), u32(shape.length), ...dimensions, u32(ggmlType(storage)), u64(at)]);
  });
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), typed(value)]),
    ...infos,
  ]);
  return Buffer.concat([header], aligned(header.length));
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}
function u64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

function scalar(type: Scalar, value: string | number | boolean): Buffer {
  if (type === 'string') return text(String(value));
  if (type === 'bool') return Buffer.from([Number(value)]);
  const out = Buffer.alloc(4);
  if (type === 'uint32') out.writeUInt32LE(Number(value));
  else if (type === 'int32') out.writeInt32LE(Number(value));
  else out.writeFloatLE(Number(value));
  return out;
}

const typed = (value: TypedValue): Buffer =>
  value[0] === 'array'
    ? Buffer.concat([
        u32(ARRAY),
        u32(TYPES[value[1]]),
        u64(value[2].length),
        ...value[2].map((each) => scalar(value[1], each)),
      ])
    : Buffer.concat([u32(TYPES[value[0]]), scalar(value[0], value[1])]);
