/** @file What a run of a session leaves in memory behind its results, and that a run that failed is told of. */
import { expect, it } from 'vitest';
import { emit } from '../graph/emit.ts';
import { add } from '../graph/ops/index.ts';
import { Scope, type Shape } from '../graph/value.ts';
import { numbers, Session, zeros } from './session.ts';

/** y = x + x */
function doubling(shape: Shape): Promise<Session> {
  const x = new Scope().input('x', shape);
  return Session.create(emit(new Map([['y', add(x, x)]]), 'cpu'), { device: 'cpu', threads: 1 });
}

it('leaves no copy of what it wrote into a place', async () => {
  const shape = [512, 1024];
  const session = await doubling(shape);
  const [from, place] = [zeros(shape), zeros(shape)];
  numbers(from).fill(1);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 10; i++) await session.run([{ x: from }], { y: place });
  expect(numbers(place)[0]).toBe(2);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(numbers(place).byteLength);
  await session.release();
});

it('tells of a run that failed', async () => {
  const session = await doubling([64, 1024]);
  const wrong = session.run([{ x: zeros([64, 1000]) }], { y: zeros([64, 1024]) });
  await expect(wrong).rejects.toThrow(/dimension/i);
  await session.release();
});
