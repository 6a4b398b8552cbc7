/** @file Memory that is mapped by itself is used as any other: by the runtime, threads, files and sums. */
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { discard } from '../../formats/discard.ts';
import { emit } from '../graph/emit.ts';
import { add } from '../graph/ops/index.ts';
import { Scope } from '../graph/value.ts';
import { inMapped, mappedFloats, sharedFloats } from './mapped.ts';
import { numbers, Session, tensor, zeros } from './session.ts';

const SIZE = 2 ** 17;
const bytes = (floats: Float32Array): Uint8Array => new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);

it.each([
  ['by itself', mappedFloats],
  ['shared', sharedFloats],
])('is read and written by the runtime, files and sums (%s)', async (_, make) => {
  const shape = [2, SIZE / 2];
  const [x, y] = [tensor(make(SIZE).fill(1.5), shape), tensor(make(SIZE), shape)];
  const input = new Scope().input('x', shape);
  const session = await Session.create(emit(new Map([['y', add(input, input)]]), 'cpu'), { device: 'cpu', threads: 1 });
  await session.run([{ x }], { y });
  await session.release();
  const expected = new Float32Array(SIZE).fill(3);
  expect(numbers(y)).toEqual(expected);
  const sum = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
  expect(sum(bytes(numbers(y)))).toBe(sum(bytes(expected)));
  const folder = await mkdtemp(join(tmpdir(), 'fettle-mapped-'));
  const file = await open(join(folder, 'numbers'), 'w');
  await file.write(bytes(numbers(y)));
  await file.close();
  expect(new Uint8Array(await readFile(join(folder, 'numbers')))).toEqual(bytes(expected));
  await rm(folder, { recursive: true });
});

it('is seen by threads where it is shared', async () => {
  const floats = sharedFloats(SIZE);
  const script = `const { workerData } = require('node:worker_threads'); workerData[workerData.length - 1] = 7;`;
  const worker = new Worker(script, { eval: true, workerData: floats });
  await new Promise((resolve) => worker.on('exit', resolve));
  expect(floats[SIZE - 1]).toBe(7);
});

it('is given back', () => {
  const floats = mappedFloats(SIZE);
  discard(floats);
  expect(floats.length).toBe(0);
});

it('takes a copy of a tensor, unless it need not', () => {
  const [large, small] = [zeros([SIZE]), zeros([8])];
  expect(inMapped(large, false).data).not.toBe(large.data);
  expect(inMapped(large, false)).toMatchObject({ type: 'float32', dims: [SIZE] });
  expect(inMapped(small, false)).toBe(small);
  const shared = inMapped(small, true);
  expect(numbers(shared).buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(inMapped(shared, true)).toBe(shared);
});
