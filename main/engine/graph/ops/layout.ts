/** @file Ops that move elements without computing: reshape, transpose, split, concat, slice, pad. */
import { ends, plain, type Op } from '../op.ts';
import { FREE, nodeOf, sameShape, ShapeError, sizeOf, type Attrs, type Shape, type Value } from '../value.ts';

interface ShapeAttr extends Attrs {
  readonly shape: Shape;
}
/**
 * A shape as ONNX's Reshape takes it: of free lengths the last is what is left over, -1, and those before it are taken
 * from the input, 0, which they must be: at the same place, with as much between them. Undefined where they are not.
 */
function inWords(from: Shape, to: Shape): number[] | undefined {
  const frees = (shape: Shape): number[] => shape.flatMap((n, i) => (n === FREE ? [i] : []));
  const [given, wanted] = [frees(from), frees(to)];
  const taken = wanted.slice(0, -1);
  const between = (shape: Shape, places: readonly number[], i: number): number =>
    sizeOf(shape.slice(places[i]! + 1, places[i + 1]!));
  const same = (place: number, i: number): boolean =>
    place === given[i] && between(from, given, i) === between(to, wanted, i);
  if (taken.length > 0 && !(given.length === wanted.length && taken.every(same))) return undefined;
  return to.map((n, i) => (n !== FREE ? n : taken.includes(i) ? 0 : -1));
}

const reshapeOp: Op<ShapeAttr> = {
  name: 'reshape',
  backward: 'again',
  types: ([x], { shape }) => {
    if (sizeOf(x!.shape) !== sizeOf(shape))
      throw new ShapeError('reshape', `not as many elements as [${shape.join(', ')}]`, [x!]);
    if (!inWords(x!.shape, shape))
      throw new ShapeError('reshape', `free lengths of [${shape.join(', ')}] cannot be told apart`, [x!]);
    return [{ shape, dtype: x!.dtype }];
  },
  emit: (to, node) => {
    const [[x], outputs] = ends(to, node);
    to.node('Reshape', [x!, to.ints(inWords(node.inputs[0]!.shape, node.attrs.shape)!)], outputs);
  },
  vjp: ({ inputs: [x] }, [dy]) => [reshape(dy!, x!.shape)],
};

interface Perm extends Attrs {
  readonly perm: readonly number[];
}
const transposeOp: Op<Perm> = {
  name: 'transpose',
  backward: 'again',
  types: ([x], { perm }) => {
    if (perm.length !== x!.shape.length || x!.shape.some((_, i) => !perm.includes(i)))
      throw new ShapeError('transpose', `no permutation: ${perm.join()}`, [x!]);
    return [{ shape: perm.map((p) => x!.shape[p]!), dtype: x!.dtype }];
  },
  emit: plain('Transpose'),
  vjp: ({ attrs: { perm } }, [dy]) => [
    transpose(
      dy!,
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ],
};

interface Axis extends Attrs {
  readonly axis: number;
}
const concatOp: Op<Axis> = {
  name: 'concat',
  backward: 'again',
  types: (xs, { axis }) => {
    const [first] = xs;
    if (
      xs.some(
        (x) => x.shape.length !== first!.shape.length || x.shape.some((n, i) => i !== axis && n !== first!.shape[i]),
      )
    )
      throw new ShapeError('concat', `shapes differ on another axis than ${axis}`, xs);
    const length = xs.reduce((sum, x) => sum + x.shape[axis]!, 0);
    return [{ shape: first!.shape.map((n, i) => (i === axis ? length : n)), dtype: first!.dtype }];
  },
  emit: plain('Concat'),
  vjp: ({ inputs, attrs: { axis } }, [dy]) =>
    split(
      dy!,
      inputs.map((x) => x.shape[axis]!),
      axis,
    ),
};

interface Sizes extends Attrs {
  readonly axis: number;
  readonly sizes: readonly number[];
}
const splitOp: Op<Sizes> = {
  name: 'split',
  backward: 'again',
  types: ([x], { sizes, axis }) => {
    if (sizes.reduce((a, b) => a + b, 0) !== x!.shape[axis])
      throw new ShapeError('split', `parts of ${sizes.join(', ')} do not make up axis ${axis}`, [x!]);
    return sizes.map((s) => ({ shape: x!.shape.map((n, i) => (i === axis ? s : n)), dtype: x!.dtype }));
  },
  emit: (to, node) => {
    const [[x], outputs] = ends(to, node);
    to.node('Split', [x!, to.ints(node.attrs.sizes)], outputs, { axis: node.attrs.axis });
  },
  vjp: ({ inputs: [x], outputs, attrs: { axis } }, dys) => [
    concat(
      outputs.map((o, i) => dys[i] ?? x!.scope.zeros(o.shape)),
      axis,
    ),
  ],
};

interface Range extends Attrs {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}
const sliceOp: Op<Range> = {
  name: 'slice',
  backward: 'again',
  types: ([x], { axis, start, end }) => {
    if (!(start >= 0 && start < end && end <= x!.shape[axis]!))
      throw new ShapeError('slice', `${start} to ${end} is not inside axis ${axis}`, [x!]);
    return [{ shape: x!.shape.map((n, i) => (i === axis ? end - start : n)), dtype: x!.dtype }];
  },
  emit: (to, node) => {
    const [[x], outputs] = ends(to, node);
    const { axis, start, end } = node.attrs;
    to.node('Slice', [x!, to.ints([start]), to.ints([end]), to.ints([axis])], outputs);
  },
  vjp: ({ inputs: [x], attrs: { axis, start, end } }, [dy]) => [pad(dy!, axis, start, x!.shape[axis]! - end)],
};

interface Around extends Attrs {
  readonly axis: number;
  readonly before: number;
  readonly after: number;
}
const padOp: Op<Around> = {
  name: 'pad',
  backward: 'again',
  types: ([x], { axis, before, after }) => {
    if (before < 0 || after < 0) throw new ShapeError('pad', `${before} before and ${after} after`, [x!]);
    return [{ shape: x!.shape.map((n, i) => (i === axis ? before + n + after : n)), dtype: x!.dtype }];
  },
  emit: (to, node) => {
    const [[x], outputs] = ends(to, node);
    const { axis, before, after } = node.attrs;
    const rank = node.inputs[0]!.shape.length;
    const pads = new Array<number>(2 * rank).fill(0);
    pads[axis] = before;
    pads[rank + axis] = after;
    to.node('Pad', [x!, to.ints(pads)], outputs);
  },
  vjp: ({ inputs: [x], attrs: { axis, before } }, [dy]) => [slice(dy!, axis, before, before + x!.shape[axis]!)],
};

/** A shape that only the next one looks at is passed over: each op costs a token of an answer more than its work does. */
export function reshape(x: Value, shape: Shape): Value {
  if (sameShape(x.shape, shape)) return x;
  const node = nodeOf(x);
  const before = node?.op.name === 'reshape' && !x.vjp && !x.keep ? node.inputs[0] : undefined;
  return before && inWords(before.shape, shape) ? reshape(before, shape) : x.scope.apply(reshapeOp, [x], { shape })[0]!;
}
/** Where no axis longer than 1 changes its place among the others, nothing moves in memory. */
export function transpose(x: Value, perm: readonly number[]): Value {
  const long = perm.filter((p) => x.shape[p] !== 1);
  if (long.every((p, i) => i === 0 || p > long[i - 1]!)) {
    const shape = perm.map((p) => x.shape[p]!);
    if (inWords(x.shape, shape)) return reshape(x, shape);
  }
  return x.scope.apply(transposeOp, [x], { perm })[0]!;
}
export const concat = (xs: readonly Value[], axis: number): Value =>
  xs.length === 1 ? xs[0]! : xs[0]!.scope.apply(concatOp, xs, { axis })[0]!;
export const split = (x: Value, sizes: readonly number[], axis: number): readonly Value[] =>
  sizes.length === 1 ? [x] : x.scope.apply(splitOp, [x], { sizes, axis });
/** Elements start to end (not included) of an axis. */
export const slice = (x: Value, axis: number, start: number, end: number): Value =>
  start === 0 && end === x.shape[axis] ? x : x.scope.apply(sliceOp, [x], { axis, start, end })[0]!;
/** Zeros before and after along an axis. */
export const pad = (x: Value, axis: number, before: number, after: number): Value =>
  before === 0 && after === 0 ? x : x.scope.apply(padOp, [x], { axis, before, after })[0]!;

export const LAYOUT = [reshapeOp, transposeOp, concatOp, splitOp, sliceOp, padOp];
