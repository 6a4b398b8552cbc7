/** @file safetensors files: a JSON header of names, types, shapes and offsets, then the numbers. Read where needed, written as a stream. */
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { madeOf } from './discard.ts';
import { roundToBfloat16, roundToFloat16, widenBfloat16, widenFloat16 } from './floats.ts';
import type { WeightSource } from './model.ts';
import { readExactly } from './read-exactly.ts';

/** As the reference implementation: a larger header is an attack. */
const MOST_HEADER_BYTES = 100_000_000;
const BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
type Type = keyof typeof BYTES;

const Header = z.record(
  z.string(),
  z.looseObject({
    dtype: z.string(),
    shape: z.array(z.int().min(0)),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
);

interface Entry {
  readonly type: Type;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsFile extends WeightSource {
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes of all tensors as stored. */
  readonly bytes: number;
  /** I32 or I64 numbers that fit 32 bits. */
  readIntegers(name: string): Promise<Int32Array>;
  /** A tensor's bytes as stored, into as many. */
  readInto(name: string, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file and checks its header against its size before anything else is read.
 * @throws FILE_NOT_FOUND, FILE_EMPTY, FILE_TRUNCATED, FORMAT_INVALID
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw toFettleError(error);
  });
  try {
    const { entries, metadata } = await readHeader(file, path);
    return access(file, path, entries, metadata);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function access(
  file: FileHandle,
  path: string,
  entries: ReadonlyMap<string, Entry>,
  metadata: Readonly<Record<string, string>>,
): SafetensorsFile {
  const entry = (name: string): Entry => {
    const found = entries.get(name);
    if (!found) throw new FettleError('MODEL_INCOMPLETE', `${path} has no tensor ${name}.`, 'Use the complete file.');
    return found;
  };
  /** A buffer of its own, so that views of any type are aligned. */
  const bytesOf = async ({ start, end }: Entry): Promise<ArrayBuffer> => {
    const bytes = new Uint8Array(end - start);
    await readExactly(file, path, bytes, start);
    return bytes.buffer;
  };
  return {
    metadata,
    names: [...entries.keys()],
    bytes: [...entries.values()].reduce((sum, { start, end }) => sum + end - start, 0),
    info: (name) => ({ shape: entry(name).shape, storage: entry(name).type }),
    async read(name) {
      const found = entry(name);
      const numbers = await bytesOf(found);
      switch (found.type) {
        case 'F32':
          return new Float32Array(numbers);
        case 'F16':
          return madeOf(new Uint16Array(numbers), widenFloat16);
        case 'BF16':
          return madeOf(new Uint16Array(numbers), widenBfloat16);
        case 'F64':
          return madeOf(new Float64Array(numbers), (wide) => Float32Array.from(wide));
        default:
          throw new FettleError(
            'FORMAT_INVALID',
            `${name} in ${path} holds ${found.type}, where floats are expected.`,
            'Use weights in F32, F16 or BF16.',
          );
      }
    },
    async readIntegers(name) {
      const found = entry(name);
      const numbers = await bytesOf(found);
      if (found.type === 'I32') return new Int32Array(numbers);
      if (found.type !== 'I64')
        throw new FettleError('FORMAT_INVALID', `${name} in ${path} holds ${found.type}, where integers are expected.`);
      return Int32Array.from(new BigInt64Array(numbers), (value) => {
        if (BigInt.asIntN(32, value) !== value)
          throw new FettleError('FORMAT_INVALID', `${name} in ${path} holds numbers beyond 32 bits.`);
        return Number(value);
      });
    },
    readInto: (name, into) => readExactly(file, path, into, entry(name).start),
    close: () => file.close(),
  };
}

async function readHeader(
  file: FileHandle,
  path: string,
): Promise<{ entries: Map<string, Entry>; metadata: Record<string, string> }> {
  const { size } = await file.stat();
  const invalid = (what: string, cause?: unknown): FettleError =>
    new FettleError(
      'FORMAT_INVALID',
      `${path} is no valid safetensors file: ${what}.`,
      'Get the file again from where it came.',
      { cause },
    );
  const truncated = (claimed: number): FettleError =>
    new FettleError(
      'FILE_TRUNCATED',
      `${path} ends early: it has ${size} bytes and claims ${claimed}.`,
      'Copy or download it again.',
    );
  if (size === 0) throw new FettleError('FILE_EMPTY', `${path} is empty.`, 'Copy or download it again.');
  if (size < 8) throw truncated(8);
  const prefix = new Uint8Array(8);
  await readExactly(file, path, prefix, 0);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(MOST_HEADER_BYTES)) throw invalid('its header claims an impossible length');
  const dataStart = 8 + Number(length);
  if (dataStart > size) throw truncated(dataStart);
  const text = new Uint8Array(Number(length));
  await readExactly(file, path, text, 8);

  let metadata: Record<string, string> = {};
  let header: z.infer<typeof Header>;
  try {
    const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)) as Record<string, unknown>;
    const { __metadata__: notes, ...tensors } = parsed;
    metadata = z.record(z.string(), z.string()).parse(notes ?? {});
    header = Header.parse(tensors);
  } catch (error) {
    throw invalid('its header cannot be read', error);
  }

  const entries = new Map<string, Entry>();
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [start, end],
    },
  ] of Object.entries(header)) {
    if (!Object.hasOwn(BYTES, dtype)) throw invalid(`${name} is of the unknown type ${dtype}`);
    const type = dtype as Type;
    const bytes = shape.reduce((product, size) => product * size, BYTES[type]);
    if (end < start || end - start !== bytes)
      throw invalid(`${name} has ${end - start} bytes where its shape needs ${bytes}`);
    if (dataStart + end > size) throw truncated(dataStart + end);
    entries.set(name, { type, shape, start: dataStart + start, end: dataStart + end });
  }
  const sorted = [...entries].sort((a, b) => a[1].start - b[1].start || a[1].end - b[1].end);
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i]![1].start < sorted[i - 1]![1].end) throw invalid(`${sorted[i]![0]} and ${sorted[i - 1]![0]} overlap`);
  return { entries, metadata };
}

export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  /** The numbers, or where to get them when their turn comes: then only one tensor is held at a time. */
  readonly data: Float32Array | Int32Array | (() => Promise<Float32Array>);
}
/** Numbers that are stored as they are. */
export type Integers = Int8Array | Uint8Array | Int32Array;
export type IntegersToWrite = Omit<TensorToWrite, 'data'> & { readonly data: Integers };
export type FloatType = 'F32' | 'F16' | 'BF16';

interface WriteOptions {
  readonly dtype?: FloatType;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Whether it outlives a power cut as soon as it has its name; false for what can be made again and is checked when it is read. */
  readonly flushed?: boolean;
}

/**
 * Writes a file as it goes, under a temporary name until it is whole and flushed. Floats are rounded to nearest, ties to even.
 * @throws DISK_FULL, with nothing left behind.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly (TensorToWrite | IntegersToWrite)[],
  { dtype = 'F32', metadata = {}, flushed = true }: WriteOptions = {},
): Promise<void> {
  const { padded } = headerOf(
    tensors.map(({ name, shape, data }) => ({ name, shape, type: isIntegers(data) ? integerType(data) : dtype })),
    metadata,
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(length);
      await file.writeFile(padded);
      for (const tensor of tensors) await file.writeFile(await encode(tensor, dtype));
      if (flushed) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw toFettleError(error);
  }
}

type IntegerType = 'I8' | 'U8' | 'I32';
const isIntegers = (data: (TensorToWrite | IntegersToWrite)['data']): data is Integers =>
  ArrayBuffer.isView(data) && !(data instanceof Float32Array);
const integerType = (data: Integers): IntegerType =>
  data instanceof Int8Array ? 'I8' : data instanceof Uint8Array ? 'U8' : 'I32';

function headerOf(
  tensors: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly type: FloatType | IntegerType;
  }[],
  metadata: Readonly<Record<string, string>>,
): { readonly padded: Buffer; readonly dataBytes: number } {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt', ...metadata } };
  let at = 0;
  for (const { name, shape, type } of tensors) {
    const bytes = shape.reduce((product, size) => product * size, BYTES[type]);
    header[name] = { dtype: type, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  // The numbers begin at a multiple of eight.
  return { padded: Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]), dataBytes: at };
}

/** Bytes of a file of float32 tensors, to the last one. */
export function safetensorsBytes(tensors: readonly Pick<TensorToWrite, 'name' | 'shape'>[]): number {
  const { padded, dataBytes } = headerOf(
    tensors.map(({ name, shape }) => ({ name, shape, type: 'F32' })),
    {},
  );
  return 8 + padded.length + dataBytes;
}

async function encode({ name, shape, data }: TensorToWrite | IntegersToWrite, dtype: FloatType): Promise<Uint8Array> {
  const numbers = typeof data === 'function' ? await data() : data;
  if (numbers.length !== shape.reduce((a, b) => a * b, 1))
    throw new FettleError('INTERNAL', `${name} has ${numbers.length} numbers for the shape [${shape.join(', ')}].`);
  const stored =
    isIntegers(numbers) || dtype === 'F32'
      ? numbers
      : dtype === 'F16'
        ? roundToFloat16(numbers)
        : roundToBfloat16(numbers);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
