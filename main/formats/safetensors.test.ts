/** @file safetensors files: round trips, rounding, and files that lie about themselves. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { roundToBfloat16, roundToFloat16, widenBfloat16, widenFloat16 } from './floats.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'a.safetensors');
const file = (header: unknown, bytes = 16): string => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(bytes)]));
  return path;
};
const entry = (shape: number[], start: number, end: number, dtype = 'F32'): unknown => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

describe('a file that was written', () => {
  it('is read back, floats and integers, with its notes', async () => {
    await writeSafetensors(
      path,
      [
        { name: 'a', shape: [2, 2], data: Float32Array.of(1, -2, 0.5, 1e-30) },
        { name: 'b', shape: [3], data: Int32Array.of(-1, 0, 7) },
        { name: 'c', shape: [1], data: () => Promise.resolve(Float32Array.of(3)) },
      ],
      { metadata: { by: 'test' } },
    );
    const read = await openSafetensors(path);
    expect([...(await read.read('a'))]).toEqual([1, -2, 0.5, Math.fround(1e-30)]);
    expect([...(await read.readIntegers('b'))]).toEqual([-1, 0, 7]);
    expect(read.info('c')).toEqual({ shape: [1], storage: 'F32' });
    expect(read.metadata).toEqual({ format: 'pt', by: 'test' });
    await expect(read.read('none')).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
    await read.close();
  });

  it('holds 16-bit floats rounded to nearest, ties to even', async () => {
    const values = Float32Array.of(
      0,
      -0,
      1,
      65504,
      65519,
      65520,
      1e9,
      6e-8,
      3e-8,
      2.98e-8,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      NaN,
      -Infinity,
      5.96e-8,
    );
    const half = widenFloat16(roundToFloat16(values));
    expect([...half]).toEqual([
      0,
      -0,
      1,
      65504,
      65504,
      Infinity,
      Infinity,
      2 ** -24,
      2 ** -24,
      0,
      1,
      1 + 2 ** -9,
      NaN,
      -Infinity,
      2 ** -24,
    ]);
    const brain = widenBfloat16(roundToBfloat16(Float32Array.of(1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, NaN, 3.4e38)));
    expect([...brain]).toEqual([1, 1, 1 + 2 ** -6, NaN, Infinity]);
    await writeSafetensors(path, [{ name: 'a', shape: [2], data: Float32Array.of(1.5, -2) }], { dtype: 'BF16' });
    const read = await openSafetensors(path);
    expect(read.info('a').storage).toBe('BF16');
    expect([...(await read.read('a'))]).toEqual([1.5, -2]);
    await read.close();
  });

  it('is there whole or not at all', async () => {
    rmSync(path, { force: true });
    const broken = [{ name: 'a', shape: [1], data: () => Promise.reject(new Error('gone')) }];
    await expect(writeSafetensors(path, broken)).rejects.toThrow('gone');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('a file that lies about itself is refused', () => {
  const refused = (code: string) => expect(openSafetensors(path)).rejects.toMatchObject({ code });

  it('empty, cut short, or with a header beyond its end', async () => {
    writeFileSync(path, '');
    await refused('FILE_EMPTY');
    writeFileSync(path, 'abc');
    await refused('FILE_TRUNCATED');
    file({ a: entry([4], 0, 16) });
    truncateSync(path, readFileSync(path).length - 1);
    await refused('FILE_TRUNCATED');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(1000n);
    writeFileSync(path, length);
    await refused('FILE_TRUNCATED');
    length.writeBigUInt64LE(2n ** 62n);
    writeFileSync(path, length);
    await refused('FORMAT_INVALID');
  });

  it.each([
    ['a header that is no JSON', '{"a":'],
    ['a header that is a list', '[1]'],
    ['an unknown type', { a: entry([4], 0, 16, 'F7') }],
    ['a shape that needs other bytes', { a: entry([5], 0, 16) }],
    ['offsets in the wrong order', { a: entry([4], 16, 0) }],
    ['a negative size', { a: entry([-4], 0, 16) }],
    ['tensors that overlap', { a: entry([4], 0, 16), b: entry([1], 8, 12) }],
    ['a size whose product overflows', { a: entry([2 ** 40, 2 ** 40], 0, 16) }],
  ])('%s', async (_, header) => {
    file(header);
    await refused('FORMAT_INVALID');
  });
});
