/** @file Products in 8-bit integers: rows of activations quantised as they come, weights quantised beforehand. Only on the CPU. */
import { CONTRIB, ends, type Op } from '../op.ts';
import { nodeOf, ShapeError, type Attrs, type Value } from '../value.ts';
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
    const [peak, share, turned] = [to.fresh(), to.fresh(), to.fresh()];
    const magnitude = signed ? to.fresh() : x!;
    if (signed) to.node('Abs', [x!], [magnitude]);
    to.node('ReduceMax', [magnitude, to.ints([1])], [peak], { keepdims: 1 });
    to.node('Mul', [peak, to.scalar(1 / largest)], [share]);
    to.node('Max', [share, to.scalar(SMALLEST)], [s!]);
    to.node('Div', [x!, s!], [turned]);
    to.node('QuantizeLinear', [turned, to.scalar(1), to.byte(zero)], [q!]);
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
    const product = to.fresh();
    const zero = to.byte(steps(node.attrs.signed).zero);
    to.node('MatMulIntegerToFloat', [q!, w!, to.scalar(1), ws!, zero], [product], {}, CONTRIB);
    to.node('Mul', [product, s!], [y!]);
  },
  vjp: () => [undefined, undefined, undefined, undefined],
};

/**
 * x [n, k] times int8 weights [k, m] with a scale a column [m], the rows of x rounded to 8 bits: [n, m].
 * @param kind 'shares': no number of x is below zero.
 */
export function int8Product(x: Value, weight: Value, scale: Value, kind: 'signed' | 'shares'): Value {
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
    const magnitude = to.fresh();
    to.node('Abs', [x!], [magnitude]);
    to.node('ReduceMax', [magnitude, to.ints([0])], [y!], { keepdims: 0 });
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
    const [picked, plain] = [to.fresh(), to.fresh()];
    to.node('Gather', [table!, ids!], [picked]);
    to.node('Cast', [picked], [plain], { to: 1 });
    to.node('Mul', [plain, scale!], [y!]);
  },
  vjp: () => [undefined, undefined, undefined],
};
export const int8Rows = (table: Value, scale: Value, ids: Value): Value =>
  table.scope.apply(int8RowsOp, [table, scale, ids], {})[0]!;

export const QUANTISED = [quantiseRowsOp, int8ProductOp, columnPeaksOp, int8RowsOp];
