/** @file Every way of storing numbers against the gguf package, bit for bit. test/numerics/oracle/gguf_blocks.py makes the fixture. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BLOCKS } from './blocks.ts';
import { readGgufHeader, type GgufHeader } from './read.ts';

const FIXTURE = join(import.meta.dirname, '../../../test/fixtures/gguf/blocks.gguf');

async function fixture(): Promise<{ header: GgufHeader; widened: (name: string) => Promise<Float32Array> }> {
  const file = await open(FIXTURE, 'r');
  try {
    const header = await readGgufHeader(file, FIXTURE);
    const bytes = await file.readFile();
    const widened = async (name: string): Promise<Float32Array> => {
      const tensor = header.tensors.find((each) => each.name === name)!;
      return tensor.block.widen(bytes.subarray(tensor.start, tensor.start + tensor.bytes));
    };
    return { header, widened };
  } finally {
    await file.close();
  }
}

describe('widening blocks to float32', () => {
  const types = [...BLOCKS.values()].map(({ storage }) => storage).filter((storage) => storage !== 'F32');
  it.each(types)('%s gives what the gguf package gives', async (storage) => {
    const { header, widened } = await fixture();
    expect(header.tensors.find(({ name }) => name === storage)).toMatchObject({ shape: [2, 512], block: { storage } });
    const [got, wanted] = [await widened(storage), await widened(`${storage}.widened`)];
    expect(got.some((value) => value !== 0)).toBe(true);
    expect(new Uint32Array(got.buffer)).toEqual(new Uint32Array(wanted.buffer, wanted.byteOffset, wanted.length));
  });
});

describe('metadata', () => {
  it('keeps every kind of value', async () => {
    const { metadata } = (await fixture()).header;
    expect(Object.fromEntries([...metadata].filter(([key]) => key.startsWith('test.')))).toEqual({
      'test.uint8': 255,
      'test.int8': -128,
      'test.uint16': 65535,
      'test.int16': -32768,
      'test.uint32': 4294967295,
      'test.int32': -2147483648,
      'test.float32': 0.5,
      'test.uint64': 2 ** 53 - 1,
      'test.int64': -(2 ** 53) + 1,
      'test.float64': 0.1,
      'test.bool': true,
      'test.string': 'Grüße 🙂',
      'test.strings': ['a', '', 'ü'],
      'test.numbers': [1, -2, 3],
      'test.floats': [0.5, -0.25],
      'test.lists': [[1, 2], [3]],
    });
  });
});
