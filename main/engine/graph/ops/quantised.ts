/** @file Products with weights of 8 and 4 bits, rounded beforehand; against 8 bits the rows of activations are rounded as they come. Only on the CPU. */
import { CONTRIB, ends, plain, step, type Emitter, type Op } from '../op.ts';
import { nodeOf, ShapeError, sizeOf, type Attrs, type Node, type Shape, type Value } from '../value.ts';
import { mul } from './elementwise.ts';
import { rmsNorm } from './model.ts';

type None = Record<string, never>;
interface Signed extends Attrs {
  /** 0 where no number is below zero: all 256 steps then lie above it. */
  readonly signed: number;
}
/** What stands for zero, and the largest step above it: the runtime's products want one unsigned side. */
const steps = (signed: number): { zero: number; largest: number } =>
  signed ? { zero: 128, largest: 127 } : { zero: 0, largest: 255 };
/** A row of zeros has no largest number to be measured by: this keeps its scale from being one that divides to NaN. */
const SMALLEST = 1e-30;

/**
 * x [n, k] by row: uint8 q [n, k] and scales s [n, 1] with x = (q - zero) s, where the row's largest magnitude takes the
 * largest step (per-row quantisation, Wortsman et al. 2023). Rounding has no slope: no way back.
 */
const quantiseRowsOp: Op<Signed> = {
  name: 'quantiseRows',
  backward: 'again',
  types: ([x]) => {
    if (x!.shape.length !== 2 || x!.dtype !== 'float32') throw new ShapeError('quantiseRows', 'needs a matrix', [x!]);
    return [
      { shape: x!.shape, dtype: 'uint8' },
      { shape: [x!.shape[0]!, 1], dtype: 'float32' },
    ];
  },
  emit: (to, node) => {
    const [[x], [q, s]] = ends(to, node);
    const { signed } = node.attrs;
    const { zero, largest } = steps(signed);
    const magnitude = signed ? step(to, 'Abs', [x!]) : x!;
    const peak = step(to, 'ReduceMax', [magnitude, to.ints([1])], { keepdims: 1 });
    to.node('Max', [step(to, 'Mul', [peak, to.scalar(1 / largest)]), to.scalar(SMALLEST)], [s!]);
    const [rows, columns] = node.inputs[0]!.shape as [number, number];
    // A block of a row's length: a scale a row.
    to.node('QuantizeLinear', [x!, s!, to.bytes(zero, [rows, 1])], [q!], { axis: 1, block_size: columns });
  },
  vjp: () => [undefined],
};

/** Rows quantised by `quantiseRows` times int8 weights w [k, m] with a scale a column, ws [m]: float32 [n, m]. */
const int8ProductOp: Op<Signed> = {
  name: 'int8Product',
  backward: 'keep',
  types: (inputs) => {
    const [q, s, w, ws] = inputs as [Value, Value, Value, Value];
    const [[n, k], [k2, m]] = [q.shape, w.shape];
    if (q.dtype !== 'uint8' || w.dtype !== 'int8' || k !== k2 || ws.shape[0] !== m || s.shape[0] !== n)
      throw new ShapeError('int8Product', 'needs rows of bytes, their scales, int8 columns, and their scales', inputs);
    return [{ shape: [n!, m!], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[q, s, w, ws], [y]] = ends(to, node);
    const zero = to.bytes(steps(node.attrs.signed).zero);
    const product = to.fresh();
    to.node('MatMulIntegerToFloat', [q!, w!, to.scalar(1), ws!, zero], [product], {}, CONTRIB);
    to.node('Mul', [product, s!], [y!]);
  },
  vjp: () => [undefined, undefined, undefined, undefined],
};

/**
 * x [1, k] as uint8 q [1, k], its scale s [] and what stands for zero z [], by one op of the runtime: x = (q - z) s, with
 * 255 steps from the smallest number, or zero, to the largest.
 */
const quantiseRowOp: Op<None> = {
  name: 'quantiseRow',
  backward: 'again',
  types: ([x]) => {
    if (x!.shape.length !== 2 || x!.shape[0] !== 1 || x!.dtype !== 'float32')
      throw new ShapeError('quantiseRow', 'needs a matrix of one row', [x!]);
    return [
      { shape: x!.shape, dtype: 'uint8' },
      { shape: [], dtype: 'float32' },
      { shape: [], dtype: 'uint8' },
    ];
  },
  emit: plain('DynamicQuantizeLinear'),
  vjp: () => [undefined],
};

/** A row quantised by `quantiseRow` times int8 weights w [k, m] with a scale a column, ws [m], all in one op: float32 [1, m]. */
const int8RowProductOp: Op<None> = {
  name: 'int8RowProduct',
  backward: 'keep',
  types: (inputs) => {
    const [q, , , w, ws] = inputs as [Value, Value, Value, Value, Value];
    const [k, m] = w.shape;
    if (q.dtype !== 'uint8' || w.dtype !== 'int8' || q.shape[1] !== k || ws.shape[0] !== m)
      throw new ShapeError('int8RowProduct', 'needs a row of bytes, int8 columns, and their scales', inputs);
    return [{ shape: [1, m!], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[q, s, z, w, ws], outputs] = ends(to, node);
    to.node('MatMulIntegerToFloat', [q!, w!, s!, ws!, z!], outputs, {}, CONTRIB);
  },
  vjp: () => [undefined, undefined, undefined, undefined, undefined],
};

/**
 * x [n, k] times int8 weights [k, m] with a scale a column [m], the rows of x rounded to 8 bits: [n, m]. A row alone is
 * rounded by its range, which may be a little finer than by its largest magnitude.
 * @param kind of several rows, 'shares': no number of x is below zero.
 */
export function int8Product(x: Value, weight: Value, scale: Value, kind: 'signed' | 'shares'): Value {
  if (x.shape[0] === 1) {
    const row = x.scope.apply(quantiseRowOp, [x], {});
    return x.scope.apply(int8RowProductOp, [...row, weight, scale], {})[0]!;
  }
  const attrs = { signed: kind === 'signed' ? 1 : 0 };
  const [q, s] = x.scope.apply(quantiseRowsOp, [x], attrs);
  return x.scope.apply(int8ProductOp, [q!, s!, weight, scale], attrs)[0]!;
}

/** x [n, k] with each column times its factor [k]; where x comes from a norm, the norm's weight takes the factors and no pass is spent. */
export function scaleColumns(x: Value, factors: Value): Value {
  const node = nodeOf(x);
  if (node?.op.name !== 'rmsNorm' || node.outputs[0] !== x) return mul(x, factors);
  const [source, weight] = node.inputs as [Value, Value];
  return rmsNorm(source, mul(weight, factors), (node.attrs as { epsilon: number }).epsilon);
}

/** The largest magnitude of each column of x [n, k]: [k]. To look at activations with; no way back. */
const columnPeaksOp: Op<None> = {
  name: 'columnPeaks',
  backward: 'again',
  types: ([x]) => [{ shape: [x!.shape[1]!], dtype: 'float32' }],
  emit: (to, node) => {
    const [[x], [y]] = ends(to, node);
    to.node('ReduceMax', [step(to, 'Abs', [x!]), to.ints([0])], [y!], { keepdims: 0 });
  },
  vjp: () => [undefined],
};
export const columnPeaks = (x: Value): Value => x.scope.apply(columnPeaksOp, [x], {})[0]!;

/** Rows of an int8 table [m, d] with a scale a column [d], by int64 ids [n]: float32 [n, d]. */
const int8RowsOp: Op<None> = {
  name: 'int8Rows',
  backward: 'keep',
  types: ([table, scale, ids]) => {
    if (table!.dtype !== 'int8' || ids!.dtype !== 'int64' || scale!.shape[0] !== table!.shape[1])
      throw new ShapeError('int8Rows', 'needs an int8 table, a scale a column, and ids', [table!, scale!, ids!]);
    return [{ shape: [...ids!.shape, table!.shape[1]!], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[table, scale, ids], [y]] = ends(to, node);
    const picked = step(to, 'Gather', [table!, ids!]);
    to.node('Mul', [step(to, 'Cast', [picked], { to: 1 }), scale!], [y!]);
  },
  vjp: () => [undefined, undefined, undefined],
};
export const int8Rows = (table: Value, scale: Value, ids: Value): Value =>
  table.scope.apply(int8RowsOp, [table, scale, ids], {})[0]!;

interface Blocks extends Attrs {
  /** Weights in a block. */
  readonly block: number;
  readonly from: number;
}

/**
 * The numbers of one half of a 4-bit weight's bytes, [outputs, bytes of an output]: the even inputs, or the odd ones.
 * Whole runs of bytes are unpacked as they lie, so that nothing as large as the weight is put into another order. They are
 * written before the small side is: of what a product needs the runtime computes first what was written last, and would
 * unpack all weights of a program before it multiplies with one.
 */
function half(to: Emitter, which: 'even' | 'odd', [bits, scale, zero]: readonly string[], shape: Shape): string {
  const [outputs, blocks, bytes] = shape as [number, number, number];
  const steps =
    which === 'even'
      ? step(to, 'BitwiseAnd', [bits!, to.bytes(15)])
      : step(to, 'BitShift', [bits!, to.bytes(4)], { direction: 'RIGHT' });
  const lines = step(to, 'Reshape', [steps, to.ints([outputs * blocks, bytes])]);
  const numbers = step(to, 'DequantizeLinear', [lines, scale!, zero!], { axis: 0 });
  return step(to, 'Reshape', [numbers, to.ints([outputs, blocks * bytes])]);
}

/** A half of a weight while it is multiplied with: the steps as bytes, and as float32. */
const halfBytes = ({ inputs: [, bits] }: Node): number => sizeOf(bits!.shape) * (1 + Float32Array.BYTES_PER_ELEMENT);

/**
 * x [n, from] times a 4-bit weight: bits uint8 [to, blocks, block / 2], scales and zero points [to * blocks]. The even
 * inputs times one half of the bytes, plus the odd ones times the other. The runtime's own MatMulNBits takes as long for
 * 512 rows, and up to six times as long for few, where a weight is an input (docs/decisions/engine-speed.md).
 */
const int4ProductOp: Op<Blocks> = {
  name: 'int4Product',
  backward: 'keep',
  inner: halfBytes,
  types: (inputs, { block, from }) => {
    const [x, bits] = inputs as [Value, Value];
    const [to, blocks] = bits.shape as [number, number];
    if (x.shape[1] !== from || bits.dtype !== 'uint8' || blocks !== Math.ceil(from / block))
      throw new ShapeError('int4Product', 'needs rows and the bits of a weight for them', inputs);
    return [{ shape: [x.shape[0]!, to], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[x, ...packed], [y]] = ends(to, node);
    const { block, from } = node.attrs;
    const [rows, shape] = [node.inputs[0]!.shape[0]!, node.inputs[1]!.shape];
    const bytes = shape[1]! * shape[2]!;
    const missing = shape[1]! * block - from;
    const whole = missing === 0 ? x! : step(to, 'Pad', [x!, to.ints([0, 0, 0, missing])]);
    const halves = { even: half(to, 'even', packed, shape), odd: half(to, 'odd', packed, shape) };
    const pairs = step(to, 'Reshape', [whole, to.ints([rows * bytes, 2])]);
    const turned = step(to, 'Transpose', [pairs], { perm: [1, 0] });
    const [evenRow, oddRow] = [to.fresh(), to.fresh()];
    to.node('Split', [turned, to.ints([1, 1])], [evenRow, oddRow], { axis: 0 });
    const even = step(to, 'Reshape', [evenRow, to.ints([rows, bytes])]);
    const odd = step(to, 'Reshape', [oddRow, to.ints([rows, bytes])]);
    const product = step(to, 'Gemm', [even, halves.even], { transB: 1 });
    to.node('Gemm', [odd, halves.odd, product], [y!], { transB: 1 });
  },
  vjp: () => [undefined, undefined, undefined, undefined],
};

/** dy [n, to] times the same weight: [n, from]. Each half gives its inputs, and only the result is put into their order. */
const int4GradientOp: Op<Blocks> = {
  name: 'int4Gradient',
  backward: 'keep',
  inner: halfBytes,
  types: (inputs, { from }) => {
    const [dy, bits] = inputs as [Value, Value];
    if (dy.shape[1] !== bits.shape[0])
      throw new ShapeError('int4Gradient', 'needs rows and the bits of a weight for them', inputs);
    return [{ shape: [dy.shape[0]!, from], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[dy, ...packed], [dx]] = ends(to, node);
    const { block, from } = node.attrs;
    const [rows, shape] = [node.inputs[0]!.shape[0]!, node.inputs[1]!.shape];
    const halves = (['even', 'odd'] as const).map((which) => half(to, which, packed, shape));
    const given = step(to, 'Reshape', [dy!, to.ints([rows, shape[0]!])]);
    const columns = halves.map((each) => {
      const product = step(to, 'Gemm', [given, each]);
      return step(to, 'Reshape', [product, to.ints([rows * shape[1]! * shape[2]!, 1])]);
    });
    const pairs = step(to, 'Concat', columns, { axis: 1 });
    const width = shape[1]! * block;
    if (width === from) return to.node('Reshape', [pairs, to.ints([rows, from])], [dx!]);
    const padded = step(to, 'Reshape', [pairs, to.ints([rows, width])]);
    to.node('Slice', [padded, to.ints([0]), to.ints([from]), to.ints([1])], [dx!]);
  },
  vjp: () => [undefined, undefined, undefined, undefined],
};
type Int4 = readonly [bits: Value, scale: Value, zero: Value];
export const int4Product = (x: Value, weight: Int4, block: number): Value =>
  x.scope.apply(int4ProductOp, [x, ...weight], { block, from: x.shape[1]! })[0]!;
export const int4Gradient = (dy: Value, weight: Int4, block: number, from: number): Value =>
  dy.scope.apply(int4GradientOp, [dy, ...weight], { block, from })[0]!;

export const QUANTISED = [
  quantiseRowsOp,
  int8ProductOp,
  quantiseRowOp,
  int8RowProductOp,
  columnPeaksOp,
  int8RowsOp,
  int4ProductOp,
  int4GradientOp,
];
