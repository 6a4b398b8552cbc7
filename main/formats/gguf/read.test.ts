/** @file Damaged and hostile GGUF files: each is refused with a code and a hint, before anything of the claimed size is allocated. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ggufBytes, ggufString, u32, u64, type GgufParts, type TensorInfo } from '../../../test/support/gguf.ts';
import { readGgufHeader, type GgufHeader } from './read.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-gguf-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function header(bytes: Buffer): Promise<GgufHeader> {
  const path = join(folder, 'model.gguf');
  writeFileSync(path, bytes);
  const file = await open(path, 'r');
  try {
    return await readGgufHeader(file, path);
  } finally {
    await file.close();
  }
}

const tensor: TensorInfo = { name: 'a', dimensions: [32, 2], type: 2, data: new Uint8Array(36) };
const whole: GgufParts = { metadata: [['general.architecture', ['string', 'llama']]], tensors: [tensor] };
const start = (keys: number): Buffer => Buffer.concat([Buffer.from('GGUF'), u32(3), u64(0), u64(keys)]);
const withTensor = (changes: Partial<TensorInfo>): Buffer =>
  ggufBytes({ ...whole, tensors: [{ ...tensor, ...changes }] });
const list = (inner: number, count: number | bigint): Buffer =>
  Buffer.concat([start(1), ggufString('k'), u32(9), u32(inner), u64(count), Buffer.alloc(64)]);
const NESTED = Buffer.concat([
  start(1),
  ggufString('k'),
  u32(9),
  ...Array.from({ length: 9 }, () => [u32(9), u64(1)]).flat(),
  Buffer.alloc(64),
]);
const BIG_ENDIAN = ((): Buffer => {
  const bytes = ggufBytes(whole);
  bytes.writeUInt32BE(3, 4);
  return bytes;
})();
const HUGE = 2n ** 62n;

describe('a GGUF header', () => {
  it('tells shapes the way Hugging Face writes them, and places in the file', async () => {
    const bytes = ggufBytes({ ...whole, tensors: [tensor, { ...tensor, name: 'b' }] });
    const { tensors } = await header(bytes);
    expect(tensors).toMatchObject([
      { name: 'a', shape: [2, 32], bytes: 36, block: { storage: 'Q4_0' } },
      { name: 'b', shape: [2, 32], bytes: 36 },
    ]);
    expect(tensors[1]!.start - tensors[0]!.start).toBe(64);
    expect(tensors[1]!.start + 64).toBe(bytes.length);
  });

  it('is read in version 2 as well', async () => {
    expect((await header(ggufBytes({ ...whole, version: 2 }))).tensors).toHaveLength(1);
  });

  it('honours the alignment that the file names', async () => {
    const bytes = ggufBytes({ metadata: [['general.alignment', ['uint32', 256]]], tensors: [tensor], alignment: 256 });
    expect((await header(bytes)).tensors[0]!.start % 256).toBe(0);
  });

  it.each<[string, Buffer, string]>([
    ['an empty file', Buffer.alloc(0), 'FILE_TRUNCATED'],
    ['another kind of file', Buffer.from('PK\x03\x04 and so on, and so on'), 'FORMAT_INVALID'],
    ['version 1', ggufBytes({ ...whole, version: 1 }), 'FORMAT_UNKNOWN'],
    ['version 4', ggufBytes({ ...whole, version: 4 }), 'FORMAT_UNKNOWN'],
    ['big-endian numbers', BIG_ENDIAN, 'FORMAT_UNKNOWN'],
    ['more keys than it has room for', ggufBytes({ ...whole, keyCount: 1000 }), 'FORMAT_INVALID'],
    ['more keys than a number can hold', ggufBytes({ ...whole, keyCount: HUGE }), 'FORMAT_INVALID'],
    ['more tensors than it has room for', ggufBytes({ ...whole, tensorCount: 2 ** 40 }), 'FORMAT_INVALID'],
    ['a text that runs over the end', Buffer.concat([start(1), u64(1_000_000), Buffer.alloc(64)]), 'FORMAT_INVALID'],
    ['a text of 2^62 bytes', Buffer.concat([start(1), u64(HUGE), Buffer.alloc(64)]), 'FORMAT_INVALID'],
    [
      'a value of an unknown type',
      Buffer.concat([start(1), ggufString('k'), u32(99), Buffer.alloc(64)]),
      'FORMAT_INVALID',
    ],
    ['a list that runs over the end', list(4, 1000), 'FORMAT_INVALID'],
    ['a list of 2^62 entries', list(8, HUGE), 'FORMAT_INVALID'],
    ['a list of an unknown type', list(99, 2), 'FORMAT_INVALID'],
    ['lists within lists within lists', NESTED, 'FORMAT_INVALID'],
    [
      'a key twice',
      ggufBytes({
        metadata: [
          ['k', ['bool', true]],
          ['k', ['bool', true]],
        ],
      }),
      'FORMAT_INVALID',
    ],
    ['an alignment of nothing', ggufBytes({ metadata: [['general.alignment', ['uint32', 0]]] }), 'FORMAT_INVALID'],
    ['a tensor twice', ggufBytes({ ...whole, tensors: [tensor, tensor] }), 'FORMAT_INVALID'],
    ['a tensor of five dimensions', withTensor({ dimensions: [32, 1, 1, 1, 1] }), 'FORMAT_INVALID'],
    ['a tensor of nothing', withTensor({ dimensions: [32, 0] }), 'FORMAT_INVALID'],
    ['a size that overflows', withTensor({ dimensions: [2 ** 40, 2 ** 40, 2 ** 40] }), 'FORMAT_INVALID'],
    ['a dimension of 2^62', withTensor({ dimensions: [HUGE] }), 'FORMAT_INVALID'],
    ['rows that are no whole blocks', withTensor({ dimensions: [33, 2] }), 'FORMAT_INVALID'],
    ['a tensor that begins anywhere', withTensor({ offset: 7 }), 'FORMAT_INVALID'],
    ['a tensor that begins after the end', withTensor({ offset: 2 ** 30 }), 'FILE_TRUNCATED'],
    ['a tensor that ends after the end', withTensor({ dimensions: [32, 1000] }), 'FILE_TRUNCATED'],
    ['a storage that is not read', withTensor({ type: 10 }), 'MODEL_UNSUPPORTED'],
    ['a storage that nobody knows', withTensor({ type: 1000 }), 'MODEL_UNSUPPORTED'],
  ])('is refused with %s', async (_, bytes, code) => {
    await expect(header(bytes)).rejects.toMatchObject({ code, hint: expect.stringMatching(/./) });
  });

  it('is refused wherever the file is cut off', async () => {
    const bytes = ggufBytes(whole);
    for (let length = 0; length < bytes.length - 28; length++)
      await expect(header(bytes.subarray(0, length)), `at ${length}`).rejects.toMatchObject({
        code: expect.stringMatching(/^(FILE_TRUNCATED|FORMAT_INVALID)$/),
      });
  });

  it.each([
    ['a list', Buffer.concat([start(1), ggufString('k'), u32(9), u32(0), u64(3 * 2 ** 30)])],
    ['a text', Buffer.concat([start(1), ggufString('k'), u32(8), u64(3 * 2 ** 30)])],
  ])('is refused with %s as large as the memory, even where the file is as large', async (_, bytes) => {
    const path = join(folder, 'large.gguf');
    writeFileSync(path, bytes);
    truncateSync(path, 2 ** 32);
    const file = await open(path, 'r');
    await expect(readGgufHeader(file, path)).rejects.toMatchObject({ code: 'FORMAT_INVALID' });
    await file.close();
  });

  it('names what it does not read', async () => {
    await expect(header(withTensor({ type: 10 }))).rejects.toThrow(/Q2_K/);
  });
});
