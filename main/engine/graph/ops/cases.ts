/** @file A case or more for every op of the table, from which its tests are generated: an op without one fails them. */
import { Tensor } from 'onnxruntime-node';
import { roundToFloat16 } from '../../../formats/floats.ts';
import { frozenInput } from '../../layers/frozen.ts';
import { BLOCK, Int4 } from '../../quantise/int4.ts';
import { halves, integers, tensor, type Tensors } from '../../segments/session.ts';
import type { Scope, Value } from '../value.ts';
import {
  accumulate,
  add,
  bmm,
  columnPeaks,
  concat,
  div,
  exp,
  gelu,
  gemm,
  int8Product,
  int8Rows,
  log,
  layerNorm,
  meanLast,
  mul,
  oneHot,
  pad,
  pick,
  reduceSum,
  reshape,
  rmsNorm,
  rotary,
  rows,
  scaleColumns,
  rsqrt,
  sigmoid,
  silu,
  slice,
  softmax,
  split,
  sqrt,
  sub,
  tanh,
  transpose,
} from './index.ts';

/** An application of some ops on inputs that are differentiated, unless they have no way back of their own. */
export interface Case {
  /** The ops of the table that it is about. */
  readonly ops: readonly string[];
  /** Names and shapes of what is differentiated. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  build(scope: Scope, inputs: Readonly<Record<string, Value>>): Value;
  /** What else is fed. */
  readonly fed?: Tensors;
  /** Some ops have no way back on their own: a frozen table, a label. */
  readonly forwardOnly?: true;
}
const tables = (): Tensors => {
  const angles = Float32Array.from({ length: 12 }, (_, i) => 0.3 * i);
  return {
    positions: integers(Int32Array.of(0, 1, 2, 0, 1, 5), [2, 3]),
    cos: tensor(angles.map(Math.cos), [6, 2]),
    sin: tensor(angles.map(Math.sin), [6, 2]),
  };
};
const int8Weight = (): Tensors => ({
  w: new Tensor(
    'int8',
    Int8Array.from({ length: 12 }, (_, i) => 20 * i - 110),
    [4, 3],
  ),
  s: tensor(Float32Array.of(0.01, 0.02, 0.03), [3]),
});
/** All 16 steps, scales and zero points that differ; what fills up a last block is zero. */
function int4Weight(to: number, from: number): Tensors {
  const weight = new Int4(to, from);
  for (let o = 0; o < to; o++)
    for (let block = 0; block < weight.blocks; block++) {
      const zero = (5 * o + 3 * block) % 16;
      const values = Uint8Array.from({ length: BLOCK }, (_, i) => (block * BLOCK + i < from ? (7 * i + o) % 16 : zero));
      weight.put(o, block, { scale: 0.02 * (1 + o + block), zero }, values);
    }
  return weight.tensors('w');
}
const halfWeight = (shape: readonly [number, number]): Tensors => ({
  w: halves(roundToFloat16(Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i * i))), shape),
});
const A = { a: [3, 4] } as const;
const AB = { a: [2, 3, 4], b: [3, 1] } as const;

export const CASES: Readonly<Record<string, Case>> = {
  'add, broadcast': { ops: ['add'], inputs: AB, build: (_, { a, b }) => add(a!, b!) },
  'sub, broadcast': { ops: ['sub'], inputs: AB, build: (_, { a, b }) => sub(b!, a!) },
  'mul, broadcast': { ops: ['mul'], inputs: AB, build: (_, { a, b }) => mul(a!, b!) },
  'div, broadcast': { ops: ['div'], inputs: AB, build: (_, { a, b }) => div(a!, exp(b!)) },
  exp: { ops: ['exp'], inputs: A, build: (_, { a }) => exp(a!) },
  log: { ops: ['log'], inputs: A, build: (_, { a }) => log(exp(a!)) },
  sigmoid: { ops: ['sigmoid'], inputs: A, build: (_, { a }) => sigmoid(a!) },
  sqrt: { ops: ['sqrt'], inputs: A, build: (_, { a }) => sqrt(exp(a!)) },
  rsqrt: { ops: ['rsqrt'], inputs: A, build: (_, { a }) => rsqrt(exp(a!)) },
  silu: { ops: ['silu'], inputs: A, build: (_, { a }) => silu(a!) },
  tanh: { ops: ['tanh'], inputs: A, build: (_, { a }) => tanh(a!) },
  gelu: { ops: ['gelu'], inputs: A, build: (_, { a }) => gelu(a!) },
  reshape: { ops: ['reshape'], inputs: A, build: (_, { a }) => mul(reshape(a!, [2, 6]), reshape(a!, [2, 6])) },
  transpose: { ops: ['transpose'], inputs: { a: [2, 3, 4] }, build: (_, { a }) => transpose(a!, [2, 0, 1]) },
  'a transpose that moves nothing, and shapes that are passed over': {
    ops: ['reshape'],
    inputs: { a: [2, 3, 4] },
    build(_, { a }) {
      const turned = transpose(reshape(a!, [2, 1, 12]), [1, 0, 2]);
      return mul(reshape(turned, [4, 6]), reshape(turned, [4, 6]));
    },
  },
  concat: { ops: ['concat'], inputs: { a: [2, 3], b: [2, 4] }, build: (_, { a, b }) => concat([a!, b!, a!], 1) },
  'split, of which only one part is used': {
    ops: ['split'],
    inputs: { a: [2, 7] },
    build: (_, { a }) => split(a!, [3, 4], 1)[1]!,
  },
  'split, all parts': {
    ops: ['split'],
    inputs: { a: [2, 6] },
    build: (_, { a }) => split(a!, [3, 3], 1).reduce((x, y) => mul(x, y)),
  },
  slice: { ops: ['slice'], inputs: { a: [3, 5] }, build: (_, { a }) => slice(a!, 1, 1, 4) },
  pad: { ops: ['pad'], inputs: A, build: (_, { a }) => mul(pad(a!, 0, 1, 2), pad(a!, 0, 1, 2)) },
  'gemm plain': { ops: ['gemm'], inputs: { a: [3, 4], b: [4, 5] }, build: (_, { a, b }) => gemm(a!, b!) },
  'gemm turned, scaled, added to': {
    ops: ['gemm'],
    inputs: { a: [4, 3], b: [5, 4], c: [3, 5] },
    build: (_, { a, b, c }) => gemm(a!, b!, { transA: true, transB: true, alpha: 0.7, plus: c! }),
  },
  'gemm with a bias': {
    ops: ['gemm'],
    inputs: { a: [3, 4], b: [4, 5], c: [5] },
    build: (_, { a, b, c }) => gemm(a!, b!, { plus: c! }),
  },
  'gemm with a weight in halves': {
    ops: ['gemm'],
    inputs: { a: [3, 4], c: [3, 5] },
    build: (s, { a, c }) => gemm(a!, s.input('w', [5, 4], 'float16'), { transB: true, alpha: 0.7, plus: c! }),
    fed: halfWeight([5, 4]),
  },
  'gemm with a weight in halves, the other way': {
    ops: ['gemm'],
    inputs: { a: [3, 5] },
    build: (s, { a }) => gemm(a!, s.input('w', [5, 4], 'float16')),
    fed: halfWeight([5, 4]),
  },
  'gemm with a weight in halves that is widened in pieces': {
    ops: ['gemm'],
    inputs: { a: [2, 1024], c: [2, 8200] },
    build: (s, { a, c }) => gemm(a!, s.input('w', [8200, 1024], 'float16'), { transB: true, plus: c! }),
    fed: halfWeight([8200, 1024]),
  },
  'gemm with such a weight, the other way': {
    ops: ['gemm'],
    inputs: { a: [2, 8200], c: [2, 1024] },
    build: (s, { a, c }) => gemm(a!, s.input('w', [8200, 1024], 'float16'), { plus: c! }),
    fed: halfWeight([8200, 1024]),
  },
  'a sum that a product starts from': {
    ops: ['gemm'],
    inputs: { a: [3, 4], b: [4, 5], c: [3, 5] },
    build: (_, { a, b, c }) => accumulate(c!, gemm(a!, b!)),
  },
  'bmm plain': {
    ops: ['bmm'],
    inputs: { a: [2, 3, 4], b: [2, 4, 5] },
    build: (_, { a, b }) => bmm(a!, b!, { alpha: 0.5 }),
  },
  'bmm turned, one stack for many': {
    ops: ['bmm'],
    inputs: { a: [2, 2, 4, 3], b: [2, 1, 5, 4] },
    build: (_, { a, b }) => bmm(a!, b!, { transA: true, transB: true }),
  },
  reduceSum: { ops: ['reduceSum'], inputs: { a: [2, 3, 4] }, build: (_, { a }) => reduceSum(mul(a!, a!), [0, 2]) },
  reduceMean: { ops: ['reduceMean'], inputs: A, build: (_, { a }) => meanLast(mul(a!, a!)) },
  softmax: { ops: ['softmax'], inputs: A, build: (_, { a }) => softmax(a!) },
  rmsNorm: { ops: ['rmsNorm'], inputs: { a: [3, 8], w: [8] }, build: (_, { a, w }) => rmsNorm(a!, w!, 1e-5) },
  'a norm whose weight takes factors of the columns': {
    ops: ['rmsNorm'],
    inputs: { a: [3, 8], w: [8], f: [8] },
    build: (_, { a, w, f }) => scaleColumns(rmsNorm(a!, w!, 1e-5), f!),
  },
  'int8 products': {
    ops: ['quantiseRows', 'int8Product'],
    inputs: A,
    forwardOnly: true,
    fed: int8Weight(),
    build: (s, { a }) => int8Product(a!, s.input('w', [4, 3], 'int8'), s.input('s', [3]), 'signed'),
  },
  'int8 products of one row': {
    ops: ['quantiseRow', 'int8RowProduct'],
    inputs: { a: [1, 4] },
    forwardOnly: true,
    fed: int8Weight(),
    build: (s, { a }) => int8Product(a!, s.input('w', [4, 3], 'int8'), s.input('s', [3]), 'signed'),
  },
  'int8 products of one row that is never below zero': {
    ops: ['quantiseRow', 'int8RowProduct'],
    inputs: { a: [1, 4] },
    forwardOnly: true,
    fed: int8Weight(),
    build: (s, { a }) => int8Product(softmax(a!), s.input('w', [4, 3], 'int8'), s.input('s', [3]), 'shares'),
  },
  'int8 products of what is never below zero': {
    ops: ['quantiseRows', 'int8Product'],
    inputs: A,
    forwardOnly: true,
    fed: int8Weight(),
    build: (s, { a }) => int8Product(softmax(a!), s.input('w', [4, 3], 'int8'), s.input('s', [3]), 'shares'),
  },
  // 40 inputs do not fill a second block of 32: the rest of it counts for nothing, in both directions.
  'products with a weight of 4 bits': {
    ops: ['int4Product', 'int4Gradient'],
    inputs: { a: [3, 40] },
    fed: int4Weight(5, 40),
    build: (_, { a }) => frozenInput('int4', 'p', a!).product('w', 5),
  },
  'products of one row with a weight of 4 bits': {
    ops: ['int4Product', 'int4Gradient'],
    inputs: { a: [1, 64] },
    fed: int4Weight(3, 64),
    build: (_, { a }) => frozenInput('int4', 'p', a!).product('w', 3),
  },
  'rows of an int8 table': {
    ops: ['int8Rows'],
    inputs: A,
    forwardOnly: true,
    fed: { ...int8Weight(), ids: integers(Int32Array.of(2, 0, 3), [3]) },
    build: (s, { a }) =>
      mul(int8Rows(s.input('w', [4, 3], 'int8'), s.input('s', [3]), s.input('ids', [3], 'int64')), slice(a!, 1, 0, 3)),
  },
  columnPeaks: { ops: ['columnPeaks'], inputs: A, forwardOnly: true, build: (_, { a }) => columnPeaks(a!) },
  layerNorm: {
    ops: ['layerNorm'],
    inputs: { a: [3, 8], w: [8], b: [8] },
    build: (_, { a, w, b }) => layerNorm(a!, w!, b!, 1e-5),
  },
  rotary: {
    ops: ['rotary'],
    inputs: { a: [2, 3, 8] },
    fed: tables(),
    build: (s, { a }) =>
      rotary(a!, s.input('positions', [2, 3], 'int64'), s.input('cos', [6, 2]), s.input('sin', [6, 2])),
  },
  'rows of a table in halves': {
    ops: ['rows'],
    inputs: {},
    build: (s) => rows(s.input('w', [6, 4], 'float16'), s.input('ids', [3], 'int64')),
    fed: { ids: integers(Int32Array.of(5, 0, 5), [3]), ...halfWeight([6, 4]) },
    forwardOnly: true,
  },
  rows: {
    ops: ['rows'],
    inputs: { a: [4, 3] },
    forwardOnly: true,
    fed: { ids: integers(Int32Array.of(2, 0), [2]) },
    build: (s, { a }) => rows(a!, s.input('ids', [2], 'int64')),
  },
  pick: {
    ops: ['pick'],
    inputs: A,
    forwardOnly: true,
    fed: { at: integers(Int32Array.of(1, 3, 0), [3, 1]) },
    build: (s, { a }) => pick(a!, s.input('at', [3, 1], 'int64')),
  },
  oneHot: {
    ops: ['oneHot'],
    inputs: { a: [3, 5] },
    fed: { at: integers(Int32Array.of(1, 4, 0), [3, 1]) },
    build: (s, { a }) => mul(a!, oneHot(s.input('at', [3, 1], 'int64'), 5)),
  },
};
