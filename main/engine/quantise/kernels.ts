/** @file What this machine's products can do: whether those of 8 bits are exact, and how fast each precision's are. */
import { Tensor } from 'onnxruntime-node';
import { emit } from '../graph/emit.ts';
import { gemm, int8Product } from '../graph/ops/index.ts';
import { Scope, type Value } from '../graph/value.ts';
import { Session, tensor, zeros, type Tensors } from '../segments/session.ts';

interface Threads {
  readonly threads: number;
}

/** Sizes of a product: rows, inputs, outputs. */
export type ProductSizes = readonly [rows: number, from: number, to: number];
/** Like those of a small model's feed-forward layer. */
const USUAL: ProductSizes = [256, 576, 3072];

async function running(
  y: Value,
  feeds: Tensors,
  options: Threads,
): Promise<{ run(): Promise<Tensor>; release(): Promise<void> }> {
  const session = await Session.create(emit(new Map([['y', y]]), 'cpu'), { device: 'cpu', ...options });
  const into = { y: zeros(y.shape) };
  return {
    run: async () => {
      await session.run([feeds], into);
      return into.y;
    },
    release: () => session.release(),
  };
}

function int8(rows: number, from: number, to: number, fill: number): { y: Value; feeds: Tensors } {
  const scope = new Scope();
  const weight = scope.input('w', [from, to], 'int8');
  return {
    y: int8Product(scope.input('x', [rows, from]), weight, scope.input('s', [to]), 'signed'),
    feeds: {
      x: tensor(new Float32Array(rows * from).fill(1), [rows, from]),
      w: new Tensor('int8', new Int8Array(from * to).fill(fill), [from, to]),
      s: tensor(new Float32Array(to).fill(1), [to]),
    },
  };
}

/**
 * Whether 8-bit products lose their largest sums: CPUs without VNNI add two products in 16 bits, which hold no more than
 * 32,767 (onnxruntime's documentation of quantisation, "When to use reduce-range").
 */
export async function saturates(options: Threads): Promise<boolean> {
  const [rows, from, to] = [16, 64, 64];
  const { y, feeds } = int8(rows, from, to, 127);
  const product = await running(y, feeds, options);
  const found = (await product.run()).data[0] as number;
  await product.release();
  return Math.abs(found / (127 * from) - 1) > 1e-3;
}

/** Billions of operations a second (multiplications and additions) of a product with a frozen weight, rounding included. */
export type Speeds = Readonly<Record<'fp32' | 'int8', number>>;

/** Takes some tenths of a second. The best of a few rounds in turns: what else the machine does only makes it slower. */
export async function measureSpeeds(options: Threads, [rows, from, to] = USUAL): Promise<Speeds> {
  const scope = new Scope();
  const plain = {
    y: gemm(scope.input('x', [rows, from]), scope.input('w', [to, from]), { transB: true }),
    feeds: { x: zeros([rows, from]), w: zeros([to, from]) },
  };
  const rounded = int8(rows, from, to, 1);
  const products = [
    await running(plain.y, plain.feeds, options),
    await running(rounded.y, rounded.feeds, options),
  ] as const;
  const best = [Infinity, Infinity];
  const ROUNDS = 12;
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, product] of products.entries()) {
      const start = performance.now();
      await product.run();
      best[i] = Math.min(best[i]!, performance.now() - start);
    }
  for (const product of products) await product.release();
  const [fp32, int8Speed] = best.map((ms) => (2 * rows * from * to) / ms / 1e6) as [number, number];
  return { fp32, int8: int8Speed };
}
