/** @file A large weight in halves is widened in pieces: neither as a whole, nor are all pieces cut out of it before the first is multiplied. */
import { expect, it } from 'vitest';
import { emit } from '../graph/emit.ts';
import { gemm } from '../graph/ops/index.ts';
import { Scope } from '../graph/value.ts';
import { halves, Session, zeros } from './session.ts';

const SHAPE = [14_336, 4096] as const;
const ROWS = 4;
/** Of a piece widened, and as it was cut out; and what else a run takes. */
const PIECES = 40e6;
const peak = (): number => process.resourceUsage().maxRSS * 1024;

it.each([
  { way: 'forward', transB: true },
  { way: 'back', transB: false },
])('$way, beside the weight', async ({ transB }) => {
  const [outputs, inputs] = SHAPE;
  const [from, to] = transB ? [inputs, outputs] : [outputs, inputs];
  const scope = new Scope();
  const y = gemm(scope.input('x', [ROWS, from]), scope.input('w', SHAPE, 'float16'), { transB });
  const session = await Session.create(emit(new Map([['y', y]]), 'cpu'), { device: 'cpu', threads: 1 });
  const w = halves(new Uint16Array(outputs * inputs).fill(0x3c00), SHAPE);
  const [feeds, places] = [{ x: zeros([ROWS, from]), w }, { y: zeros([ROWS, to]) }];
  const before = peak();
  await session.run([feeds], places);
  expect(peak() - before).toBeLessThan(PIECES);
  await session.release();
});
