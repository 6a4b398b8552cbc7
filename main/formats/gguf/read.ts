/** @file The header of a GGUF file: metadata and tensor infos. Every count, length and offset is checked against the file before it is believed. */
import type { FileHandle } from 'node:fs/promises';
import { FettleError } from '../../contract/errors.ts';
import { readExactly } from '../read-exactly.ts';
import { BLOCKS, UNSUPPORTED_TYPES, type BlockType } from './blocks.ts';

export type GgufValue = string | number | boolean | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  /** Innermost last, as in Hugging Face's layout (GGUF writes it the other way round). */
  readonly shape: readonly number[];
  readonly block: BlockType;
  /** Byte place in the file. */
  readonly start: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

const CHUNK = 1 << 20;
const MOST_DIMENSIONS = 4;
/** Far beyond any vocabulary; a header with more is made to fill the memory. */
const MOST_HEADER_BYTES = 2 ** 28;
const MOST_ENTRIES = 2 ** 24;
const MOST_TEXT_BYTES = 2 ** 24;
/** Types of a value, by number, with the bytes that one takes at least. */
const SCALARS = [
  ['uint8', 1],
  ['int8', 1],
  ['uint16', 2],
  ['int16', 2],
  ['uint32', 4],
  ['int32', 4],
  ['float32', 4],
  ['bool', 1],
  ['string', 8],
  ['array', 12],
  ['uint64', 8],
  ['int64', 8],
  ['float64', 8],
] as const;

/** @throws FORMAT_INVALID, FORMAT_UNKNOWN, FILE_TRUNCATED, MODEL_UNSUPPORTED */
export async function readGgufHeader(file: FileHandle, path: string): Promise<GgufHeader> {
  const { size } = await file.stat();
  const reader = new Reader(file, path, size);
  if ((await reader.ascii(4)) !== 'GGUF') throw reader.invalid('it does not begin with GGUF');
  const version = await reader.number('uint32');
  if (version !== 2 && version !== 3)
    throw new FettleError(
      'FORMAT_UNKNOWN',
      `${path} is GGUF version ${version}${version > 0xffff ? ' (big-endian)' : ''}.`,
      'Versions 2 and 3, little-endian, can be read. Convert it again with a newer llama.cpp.',
    );
  // A tensor's info takes 24 bytes or more, a key with its value 13 or more.
  const tensorCount = await reader.count(24, 'tensors');
  const keyCount = await reader.count(13, 'keys');

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = await reader.string();
    if (metadata.has(key)) throw reader.invalid(`the key ${key} stands there twice`);
    metadata.set(key, await reader.value(await reader.number('uint32'), 0));
  }
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || !Number.isInteger(alignment) || alignment < 1 || alignment > 65536)
    throw reader.invalid('its alignment is impossible');

  const found: { name: string; shape: number[]; type: number; offset: number }[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const name = await reader.string();
    if (names.has(name)) throw reader.invalid(`the tensor ${name} stands there twice`);
    names.add(name);
    const dimensions = await reader.number('uint32');
    if (dimensions > MOST_DIMENSIONS) throw reader.invalid(`${name} has ${dimensions} dimensions`);
    const shape: number[] = [];
    for (let d = 0; d < dimensions; d++) shape.unshift(await reader.whole());
    found.push({ name, shape, type: await reader.number('uint32'), offset: await reader.whole() });
  }
  const dataStart = Math.ceil(reader.at / alignment) * alignment;
  const odd = found.find(({ offset }) => offset % alignment !== 0);
  if (odd) throw reader.invalid(`${odd.name} does not begin at a multiple of ${alignment} bytes`);
  return { metadata, tensors: found.map((tensor) => place(tensor, dataStart, reader)) };
}

function place(
  { name, shape, type, offset }: { name: string; shape: readonly number[]; type: number; offset: number },
  dataStart: number,
  reader: Reader,
): GgufTensor {
  const block = BLOCKS.get(type);
  if (!block)
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      `${name} is stored as ${UNSUPPORTED_TYPES[type] ?? `the unknown type ${type}`}.`,
      `Supported: ${[...BLOCKS.values()].map((each) => each.storage).join(', ')}.`,
    );
  const elements = shape.reduce((product, length) => product * length, 1);
  if (!Number.isSafeInteger(elements) || elements < 1) throw reader.invalid(`${name} has an impossible size`);
  if ((shape.at(-1) ?? 1) % block.elements !== 0)
    throw reader.invalid(`rows of ${name} do not divide into blocks of ${block.storage}`);
  const bytes = (elements / block.elements) * block.bytes;
  const start = dataStart + offset;
  if (start + bytes > reader.size) throw reader.truncated(start + bytes);
  return { name, shape, block, start, bytes };
}

type Scalar = Exclude<(typeof SCALARS)[number][0], 'string' | 'array' | 'bool'>;

/** Reads forward through the file in pieces, never beyond its end. */
class Reader {
  readonly size: number;
  readonly #file: FileHandle;
  readonly #path: string;
  #buffer = Buffer.alloc(0);
  #bufferStart = 0;
  #entries = 0;
  at = 0;

  constructor(file: FileHandle, path: string, size: number) {
    this.#file = file;
    this.#path = path;
    this.size = size;
  }

  invalid(what: string): FettleError {
    return new FettleError(
      'FORMAT_INVALID',
      `${this.#path} is no valid GGUF file: ${what}.`,
      'Get the file again from where it came.',
    );
  }

  truncated(claimed: number): FettleError {
    return new FettleError(
      'FILE_TRUNCATED',
      `${this.#path} ends early: it has ${this.size} bytes and claims ${claimed}.`,
      'Copy or download it again.',
    );
  }

  /** The next `length` bytes; the view is good until the next call. */
  async #take(length: number): Promise<Buffer> {
    if (this.at + length > this.size) throw this.truncated(this.at + length);
    if (this.at + length > MOST_HEADER_BYTES) throw this.invalid('its header is larger than any model needs');
    let from = this.at - this.#bufferStart;
    if (from + length > this.#buffer.length) {
      const next = Buffer.alloc(Math.min(Math.max(CHUNK, length), this.size - this.at));
      await readExactly(this.#file, this.#path, next, this.at);
      this.#buffer = next;
      this.#bufferStart = this.at;
      from = 0;
    }
    this.at += length;
    return this.#buffer.subarray(from, from + length);
  }

  async ascii(length: number): Promise<string> {
    return (await this.#take(length)).toString('latin1');
  }

  async number(type: Scalar): Promise<number> {
    switch (type) {
      case 'uint8':
        return (await this.#take(1)).readUInt8();
      case 'int8':
        return (await this.#take(1)).readInt8();
      case 'uint16':
        return (await this.#take(2)).readUInt16LE();
      case 'int16':
        return (await this.#take(2)).readInt16LE();
      case 'uint32':
        return (await this.#take(4)).readUInt32LE();
      case 'int32':
        return (await this.#take(4)).readInt32LE();
      case 'float32':
        return (await this.#take(4)).readFloatLE();
      case 'float64':
        return (await this.#take(8)).readDoubleLE();
      case 'uint64':
        return Number((await this.#take(8)).readBigUInt64LE());
      case 'int64':
        return Number((await this.#take(8)).readBigInt64LE());
    }
  }

  /** A size or place; metadata may hold larger numbers, which are rounded. */
  async whole(): Promise<number> {
    const value = await this.number('uint64');
    if (!Number.isSafeInteger(value)) throw this.invalid(`the number ${value} is impossible here`);
    return value;
  }

  /** A count of things of at least `least` bytes each, which must have room in the rest of the file. */
  async count(least: number, what: string): Promise<number> {
    const count = await this.whole();
    if (count * least > this.size - this.at)
      throw this.invalid(`it claims ${count} ${what}, more than it has room for`);
    return count;
  }

  async string(): Promise<string> {
    const length = await this.count(1, 'bytes of text');
    if (length > MOST_TEXT_BYTES) throw this.invalid(`one of its texts has ${length} bytes`);
    return (await this.#take(length)).toString('utf8');
  }

  async value(type: number, depth: number): Promise<GgufValue> {
    const [name] = SCALARS[type] ?? [];
    if (name === undefined) throw this.invalid(`a value is of the unknown type ${type}`);
    if (name === 'string') return this.string();
    if (name === 'bool') return (await this.number('uint8')) !== 0;
    if (name !== 'array') return this.number(name);
    if (depth > 2) throw this.invalid('its lists are nested too deep');
    const inner = await this.number('uint32');
    const count = await this.count(SCALARS[inner]?.[1] ?? 1, 'entries of a list');
    this.#entries += count;
    if (this.#entries > MOST_ENTRIES) throw this.invalid('its lists are longer than any model needs');
    const list: GgufValue[] = [];
    for (let i = 0; i < count; i++) list.push(await this.value(inner, depth + 1));
    return list;
  }
}
