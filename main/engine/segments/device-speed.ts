/** @file Whether there is a graphics processor that the runtime can use, and how fast it multiplies: found out by trying. */
import { roundToFloat16 } from '../../formats/floats.ts';
import { emit } from '../graph/emit.ts';
import { gemm, reduceSum } from '../graph/ops/index.ts';
import { Scope } from '../graph/value.ts';
import { DeviceMemory } from './device-memory.ts';
import { halves, tensor, type Tensors } from './session.ts';

/** Sizes of a product: rows, inputs, outputs. Each shows whether the next one is worth waiting for. */
const SMALL = [64, 256, 256] as const;
const LARGE = [512, 2048, 2048] as const;
/** Milliseconds that a small one takes at most on a device that anybody would train on: it is mostly waited for. */
const SMALL_MS = 5;
/** The same of one large product, before many are measured. */
const LARGE_MS = 100;
const ROUNDS = 3;
/** Products in a round of large ones: only the last one's result is waited for. */
const MANY = 20;

export interface MeasuredDevice {
  /** Billions of operations a second of float32 products. */
  readonly fp32: number;
  /** Whether it knows 16-bit numbers (shader-f16), so that a base may be kept in them there. */
  readonly halves: boolean;
}

/** Throws what the runtime does where there is no such device, and may end the process with it: ask in a child process. */
export async function measureDevice(): Promise<MeasuredDevice> {
  const memory = new DeviceMemory();
  try {
    return { fp32: await speedOf(memory), halves: await knowsHalves(memory) };
  } finally {
    await memory.release();
  }
}

async function speedOf(memory: DeviceMemory): Promise<number> {
  const small = await millisecondsOf(memory, SMALL, 1);
  if (small > SMALL_MS) return speed(SMALL, small);
  const large = await millisecondsOf(memory, LARGE, 1);
  return speed(LARGE, large > LARGE_MS ? large : await millisecondsOf(memory, LARGE, MANY));
}

/** By a product: a program with 16-bit numbers is refused where a device lacks them. */
async function knowsHalves(memory: DeviceMemory): Promise<boolean> {
  const numbers = Float32Array.from({ length: 64 }, (_, i) => i - 30);
  try {
    const { w } = await memory.put('halves', { w: halves(roundToFloat16(numbers), [8, 8]) });
    const { x } = await memory.put('ones', { x: tensor(new Float32Array(8).fill(1), [1, 8]) });
    const product = await memory.program('halves', () => {
      const scope = new Scope();
      return emit(new Map([['y', gemm(scope.input('x', [1, 8]), scope.input('w', [8, 8], 'float16'))]]), 'webgpu');
    });
    const { y } = await memory.run(product, [{ x: x!, w: w! }], 'product');
    return (await memory.read(y!)).every((sum, column) => sum === 8 * (column - 30) + 8 * 28);
  } catch {
    return false;
  }
}

const speed = ([rows, from, to]: readonly [number, number, number], milliseconds: number): number =>
  (2 * rows * from * to) / milliseconds / 1e6;

/** Of one product, the best of some rounds, or of one where that is slow already. */
async function millisecondsOf(
  memory: DeviceMemory,
  [rows, from, to]: readonly [number, number, number],
  products: number,
): Promise<number> {
  const ones = (n: number, m: number): Promise<Tensors> =>
    memory.put(`${n} ${m}`, { x: tensor(new Float32Array(n * m).fill(1), [n, m]) });
  const [{ x }, { x: w }] = [await ones(rows, from), await ones(to, from)];
  const product = await memory.program(`product ${rows}`, () => {
    const scope = new Scope();
    const y = gemm(scope.input('x', [rows, from]), scope.input('w', [to, from]), { transB: true });
    return emit(new Map([['y', y]]), 'webgpu');
  });
  const sum = await memory.program(`sum ${rows}`, () => {
    const total = reduceSum(reduceSum(new Scope().input('y', [rows, to]), [1]), [0]);
    return emit(new Map([['total', total]]), 'webgpu');
  });
  let best = Infinity;
  // The first round compiles.
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    let made = await memory.run(product, [{ x: x!, w: w! }], 'product');
    for (let i = 1; i < products; i++) made = await memory.run(product, [{ x: x!, w: w! }], 'product');
    const { total } = await memory.run(sum, [made], 'sum');
    const [found] = await memory.read(total!);
    if (Math.abs(found! / (rows * to * from) - 1) > 1e-3)
      throw new Error(`the device multiplies wrongly: ${found} in place of ${rows * to * from}`);
    if (round === 0) continue;
    best = Math.min(best, (performance.now() - start) / products);
    if (best > LARGE_MS) break;
  }
  return best;
}
