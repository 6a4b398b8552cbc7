/** @file Sums and means over axes, kept as axes of length 1; softmax. */
import { ends, type Emitter, type Op } from '../op.ts';
import { ShapeError, sizeOf, type Node, type Value } from '../value.ts';
import { mul, sub } from './elementwise.ts';

interface Axes extends Record<string, readonly number[]> {
  readonly axes: readonly number[];
}

const reduction = (name: string, opType: string, share: (count: number) => number): Op<Axes> => ({
  name,
  backward: 'again',
  types: ([x], { axes }) => {
    if (axes.some((a) => a < 0 || a >= x!.shape.length)) throw new ShapeError(name, `no axes ${axes.join()}`, [x!]);
    return [{ shape: x!.shape.map((n, i) => (axes.includes(i) ? 1 : n)), dtype: 'float32' }];
  },
  emit: (to: Emitter, node: Node<Axes>) => {
    const [[x], outputs] = ends(to, node);
    to.node(opType, [x!, to.ints(node.attrs.axes)], outputs, { keepdims: 1 });
  },
  vjp: ({ inputs: [x], attrs: { axes } }, [dy]) => {
    const factor = share(axes.reduce((n, a) => n * x!.shape[a]!, 1));
    return [mul(x!.scope.constant(new Float32Array(sizeOf(x!.shape)).fill(factor), x!.shape), dy!)];
  },
});
const sumOp = reduction('reduceSum', 'ReduceSum', () => 1);
const meanOp = reduction('reduceMean', 'ReduceMean', (count) => 1 / count);

/** Over the last axis. */
const softmaxOp: Op<Record<string, never>> = {
  name: 'softmax',
  backward: 'keep',
  types: ([x]) => [{ shape: x!.shape, dtype: 'float32' }],
  emit: (to, node) => to.node('Softmax', ...ends(to, node), { axis: -1 }),
  vjp: ({ outputs: [y] }, [dy]) => [mul(y!, sub(dy!, sumLast(mul(dy!, y!))))],
};

/** Sums over the given axes (counted from 0), which stay as axes of length 1. */
export const reduceSum = (x: Value, axes: readonly number[]): Value => x.scope.apply(sumOp, [x], { axes })[0]!;
const last = (x: Value): number[] => [x.shape.length - 1];
/** Sum over the last axis, kept as 1. */
export const sumLast = (x: Value): Value => reduceSum(x, last(x));
/** Mean over the last axis, kept as 1. */
export const meanLast = (x: Value): Value => x.scope.apply(meanOp, [x], { axes: last(x) })[0]!;
export const softmax = (x: Value): Value => x.scope.apply(softmaxOp, [x], {})[0]!;

export const REDUCE = [sumOp, meanOp, softmaxOp];
