/** @file Ops that work on each element, with numpy's broadcasting for those of two inputs. */
import { CONTRIB, ends, plain, step, type Op } from '../op.ts';
import { nodeOf, ShapeError, sameShape, type Shape, type Value } from '../value.ts';
import { reduceSum } from './reduce.ts';
import { reshape } from './layout.ts';
import { gemm, gemmOp } from './products.ts';

/** The shape two shapes broadcast to. Throws ShapeError. */
export function broadcast(op: string, a: Value, b: Value, drop = 0): Shape {
  const [x, y] = [a.shape.slice(0, a.shape.length - drop), b.shape.slice(0, b.shape.length - drop)];
  const rank = Math.max(x.length, y.length);
  return Array.from({ length: rank }, (_, i) => {
    const [m, n] = [x[x.length - rank + i] ?? 1, y[y.length - rank + i] ?? 1];
    if (m !== n && m !== 1 && n !== 1) throw new ShapeError(op, 'shapes do not broadcast', [a, b]);
    return Math.max(m, n);
  });
}

/** Sums `dy` over the axes along which `shape` was broadcast. */
export function unbroadcast(dy: Value, shape: Shape): Value {
  if (sameShape(dy.shape, shape)) return dy;
  const lead = dy.shape.length - shape.length;
  const axes = dy.shape.map((n, i) => (i < lead || (shape[i - lead] === 1 && n !== 1) ? i : -1)).filter((i) => i >= 0);
  return reshape(axes.length ? reduceSum(dy, axes) : dy, shape);
}

type None = Record<string, never>;
const binary = (name: string, opType: string, vjp: (a: Value, b: Value, dy: Value) => [Value, Value]): Op<None> => ({
  name,
  backward: 'again',
  types: ([a, b]) => [{ shape: broadcast(name, a!, b!), dtype: 'float32' }],
  emit: plain(opType),
  vjp: ({ inputs: [a, b] }, [dy]) => {
    const [da, db] = vjp(a!, b!, dy!);
    return [unbroadcast(da, a!.shape), unbroadcast(db, b!.shape)];
  },
});
const unary = (name: string, emit: Op<None>['emit'], vjp: (x: Value, y: Value, dy: Value) => Value): Op<None> => ({
  name,
  backward: 'again',
  types: ([x]) => [{ shape: x!.shape, dtype: 'float32' }],
  emit,
  vjp: ({ inputs: [x], outputs: [y] }, [dy]) => [vjp(x!, y!, dy!)],
});

/** The smallest number of float32 that is not denormal, rounded up. */
const SMALLEST = 1.2e-38;

const addOp = binary('add', 'Add', (_a, _b, dy) => [dy, dy]);
const subOp = binary('sub', 'Sub', (_a, _b, dy) => [dy, mul(dy, dy.scope.scalar(-1))]);
const mulOp = binary('mul', 'Mul', (a, b, dy) => [mul(dy, b), mul(dy, a)]);
const divOp = binary('div', 'Div', (a, b, dy) => [div(dy, b), mul(dy, mul(div(a, mul(b, b)), dy.scope.scalar(-1)))]);
const expOp = unary('exp', plain('Exp'), (_x, y, dy) => mul(dy, y));
/** Of numbers from 0 up; what is too small for float32 counts as its smallest, 87 below 1. */
const logOp = unary(
  'log',
  (to, node) => {
    const [[x], outputs] = ends(to, node);
    to.node('Log', [step(to, 'Max', [x!, to.scalar(SMALLEST)])], outputs);
  },
  (_x, y, dy) => mul(dy, exp(mul(y, y.scope.scalar(-1)))),
);
const sigmoidOp = unary('sigmoid', plain('Sigmoid'), (_x, y, dy) => mul(dy, mul(y, sub(y.scope.scalar(1), y))));
/** x sigmoid(x) (Elfwing et al. 2017); its derivative is s + y (1 - s). */
const siluOp = unary(
  'silu',
  (to, node) => {
    const [[x], [y]] = ends(to, node);
    if (to.device === 'cpu') return to.node('QuickGelu', [x!], [y!], { alpha: { float: 1 } }, CONTRIB);
    to.node('Mul', [x!, step(to, 'Sigmoid', [x!])], [y!]);
  },
  (x, y, dy) => {
    const s = sigmoid(x);
    return mul(dy, add(s, mul(y, sub(x.scope.scalar(1), s))));
  },
);

/** 1 / sqrt(x) for x above 0; its derivative is -y^3 / 2. */
const rsqrtOp = unary(
  'rsqrt',
  (to, node) => {
    const [[x], [y]] = ends(to, node);
    to.node('Reciprocal', [step(to, 'Sqrt', [x!])], [y!]);
  },
  (_x, y, dy) => mul(dy, mul(mul(y, mul(y, y)), y.scope.scalar(-0.5))),
);

/** Its derivative is 1 / (2 y), for x above 0. */
const sqrtOp = unary('sqrt', plain('Sqrt'), (_x, y, dy) => div(dy, mul(y, y.scope.scalar(2))));
const tanhOp = unary('tanh', plain('Tanh'), (_x, y, dy) => mul(dy, sub(y.scope.scalar(1), mul(y, y))));
/**
 * 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks & Gimpel 2016): what GPT-2 and Gemma mean by
 * GELU. Its derivative is 0.5 (1 + t) + 0.5 x (1 - t^2) u'.
 */
const geluOp = unary(
  'gelu',
  (to, node) => to.node('FastGelu', ...ends(to, node), {}, CONTRIB),
  (x, _y, dy) => {
    const number = (n: number): Value => x.scope.scalar(n);
    const c = Math.sqrt(2 / Math.PI);
    const square = mul(x, x);
    const t = tanh(mul(x, add(number(c), mul(square, number(0.044715 * c)))));
    const inner = add(number(c), mul(square, number(3 * 0.044715 * c)));
    const slope = mul(mul(x, sub(number(1), mul(t, t))), inner);
    return mul(dy, mul(add(add(t, number(1)), slope), number(0.5)));
  },
);

const two = (op: Op<None>, a: Value, b: Value): Value => a.scope.apply(op, [a, b], {})[0]!;
export const add = (a: Value, b: Value): Value => two(addOp, a, b);
export const sub = (a: Value, b: Value): Value => two(subOp, a, b);
export const mul = (a: Value, b: Value): Value => two(mulOp, a, b);
export const div = (a: Value, b: Value): Value => two(divOp, a, b);
export const exp = (x: Value): Value => x.scope.apply(expOp, [x], {})[0]!;
export const log = (x: Value): Value => x.scope.apply(logOp, [x], {})[0]!;
export const sigmoid = (x: Value): Value => x.scope.apply(sigmoidOp, [x], {})[0]!;
export const tanh = (x: Value): Value => x.scope.apply(tanhOp, [x], {})[0]!;
export const gelu = (x: Value): Value => x.scope.apply(geluOp, [x], {})[0]!;
export const silu = (x: Value): Value => x.scope.apply(siluOp, [x], {})[0]!;
export const sqrt = (x: Value): Value => x.scope.apply(sqrtOp, [x], {})[0]!;
export const rsqrt = (x: Value): Value => x.scope.apply(rsqrtOp, [x], {})[0]!;

/**
 * a + b, where one of them was made by a Gemm that nothing else uses: the Gemm then starts from the other, and a pass
 * over memory is saved. (If something else does use it, the product is computed twice, which is right but slow.)
 */
export function accumulate(a: Value, b: Value): Value {
  for (const [product, other] of [
    [b, a],
    [a, b],
  ] as const) {
    const node = nodeOf(product);
    if (node?.op.name === gemmOp.name && node.inputs.length === 2 && sameShape(product.shape, other.shape)) {
      const { transA, transB, alpha } = node.attrs as Parameters<typeof gemmOp.types>[1];
      return gemm(node.inputs[0]!, node.inputs[1]!, { transA: transA === 1, transB: transB === 1, alpha, plus: other });
    }
  }
  return add(a, b);
}

export const ELEMENTWISE = [
  addOp,
  subOp,
  mulOp,
  divOp,
  expOp,
  logOp,
  sigmoidOp,
  siluOp,
  sqrtOp,
  rsqrtOp,
  tanhOp,
  geluOp,
];
