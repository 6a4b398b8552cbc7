/** @file Ops that only language models need: RMS and layer normalisation, rotary positions, rows of a table, one element a row. */
import { elementType } from '../../../formats/onnx/build.ts';
import { CONTRIB, ends, step, type Op } from '../op.ts';
import { ShapeError, type Attrs, type Value } from '../value.ts';
import { mul, sub } from './elementwise.ts';
import { meanLast, reduceSum } from './reduce.ts';
import { reshape } from './layout.ts';

interface Epsilon extends Attrs {
  readonly epsilon: number;
}
/**
 * y = x r w with r = 1 / sqrt(mean(x^2) + epsilon) over the last axis (Zhang & Sennrich 2019). Results: y, and r with
 * the last axis kept as 1, which WebGPU's kernel leaves unwritten: there it is computed by itself.
 * dx = r (dy w) - x r^2 mean(dy y), since mean(dy w n) for n = x r is mean(dy y).
 */
const rmsNormOp: Op<Epsilon> = {
  name: 'rmsNorm',
  backward: 'again',
  types: ([x, w]) => {
    if (w!.shape.length !== 1 || w!.shape[0] !== x!.shape.at(-1))
      throw new ShapeError('rmsNorm', 'the weight must be as long as the last axis', [x!, w!]);
    return [
      { shape: x!.shape, dtype: 'float32' },
      { shape: [...x!.shape.slice(0, -1), 1], dtype: 'float32' },
    ];
  },
  emit: (to, node) => {
    const { epsilon } = node.attrs;
    const [inputs, [y, r]] = ends(to, node);
    const attributes = { axis: -1, epsilon: { float: epsilon }, stash_type: 1 };
    if (to.device === 'cpu') return to.node('SimplifiedLayerNormalization', inputs, [y!, r!], attributes);
    if (to.uses(node.outputs[0]!)) to.node('SimplifiedLayerNormalization', inputs, [y!], attributes);
    if (!to.uses(node.outputs[1]!)) return;
    const square = step(to, 'Mul', [inputs[0]!, inputs[0]!]);
    const mean = step(to, 'ReduceMean', [square, to.ints([node.inputs[0]!.shape.length - 1])], { keepdims: 1 });
    to.node('Reciprocal', [step(to, 'Sqrt', [step(to, 'Add', [mean, to.scalar(epsilon)])])], [r!]);
  },
  vjp: ({ inputs: [x, w], outputs: [y, r] }, [dy]) => {
    const scaled = mul(dy!, w!);
    const dx = sub(mul(scaled, r!), mul(x!, mul(meanLast(mul(dy!, y!)), mul(r!, r!))));
    const rows = dy!.shape.slice(0, -1).map((_, i) => i);
    return [dx, reshape(reduceSum(mul(dy!, mul(x!, r!)), rows), w!.shape)];
  },
};

/**
 * y = n w + b with n = (x - mean(x)) r and r = 1 / sqrt(variance(x) + epsilon) over the last axis (Ba et al. 2016).
 * Results: y, the mean and r with the last axis kept as 1. dx = r (dn - mean(dn) - n mean(dn n)) for dn = dy w.
 */
const layerNormOp: Op<Epsilon> = {
  name: 'layerNorm',
  backward: 'again',
  types: ([x, w, b]) => {
    const size = x!.shape.at(-1);
    if ([w!, b!].some((v) => v.shape.length !== 1 || v.shape[0] !== size))
      throw new ShapeError('layerNorm', 'weight and bias must be as long as the last axis', [x!, w!, b!]);
    const one = { shape: [...x!.shape.slice(0, -1), 1], dtype: 'float32' } as const;
    return [{ shape: x!.shape, dtype: 'float32' }, one, one];
  },
  emit: (to, node) => {
    const { epsilon } = node.attrs;
    to.node('LayerNormalization', ...ends(to, node), { axis: -1, epsilon: { float: epsilon }, stash_type: 1 });
  },
  vjp: ({ inputs: [x, w, b], outputs: [, mean, r] }, [dy]) => {
    const n = mul(sub(x!, mean!), r!);
    const dn = mul(dy!, w!);
    const dx = mul(r!, sub(sub(dn, meanLast(dn)), mul(n, meanLast(mul(dn, n)))));
    const rows = dy!.shape.slice(0, -1).map((_, i) => i);
    return [dx, reshape(reduceSum(mul(dy!, n), rows), w!.shape), reshape(reduceSum(dy!, rows), b!.shape)];
  },
};

type None = Record<string, never>;
/**
 * Rotary positions (Su et al. 2021), halves convention as in Hugging Face's Llama: with x = [a, b] by head,
 * [a cos - b sin, b cos + a sin]. x [batch, time, heads * d], positions int64 [batch, time], cos and sin
 * [positions, d / 2]. A rotation is linear, so its way back is the rotation by the opposite angle.
 */
const rotaryOp: Op<None> = {
  name: 'rotary',
  backward: 'again',
  types: ([x, positions, cos, sin]) => {
    const all = [x!, positions!, cos!, sin!];
    if (x!.shape.length !== 3 || positions!.dtype !== 'int64' || x!.shape[2]! % (2 * cos!.shape[1]!) !== 0)
      throw new ShapeError('rotary', 'needs x [batch, time, heads * d] and tables [positions, d / 2]', all);
    return [{ shape: x!.shape, dtype: 'float32' }];
  },
  emit: (to, node) => to.node('RotaryEmbedding', ...ends(to, node), { interleaved: 0 }, CONTRIB),
  vjp: ({ inputs: [, positions, cos, sin] }, [dy]) => [
    rotary(dy!, positions!, cos!, mul(sin!, sin!.scope.scalar(-1))),
    undefined,
    undefined,
    undefined,
  ],
};

/** Rows of a table, in float16 if it is frozen: [rows, d], int64 [n] -> float32 [n, d]. The table's gradient is summed where the table is held (network.ts): few of its rows are touched. */
const rowsOp: Op<None> = {
  name: 'rows',
  backward: 'keep',
  types: ([table, ids]) => {
    if (ids!.dtype !== 'int64' || table!.shape.length < 1)
      throw new ShapeError('rows', 'needs int64 ids', [table!, ids!]);
    return [{ shape: [...ids!.shape, ...table!.shape.slice(1)], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [inputs, [y]] = ends(to, node);
    if (node.inputs[0]!.dtype !== 'float16') return to.node('Gather', inputs, [y!]);
    to.node('Cast', [step(to, 'Gather', inputs)], [y!], { to: elementType('float32') });
  },
  vjp: () => [undefined, undefined],
};

/** One element of each row: x [n, m], int64 [n, 1] -> [n, 1]. Its gradient is part of the cross-entropy's own way back. */
const pickOp: Op<None> = {
  name: 'pick',
  backward: 'keep',
  types: ([x, at]) => {
    if (x!.shape.length !== 2 || at!.dtype !== 'int64' || at!.shape[0] !== x!.shape[0])
      throw new ShapeError('pick', 'needs a matrix and one index a row', [x!, at!]);
    return [{ shape: at!.shape, dtype: 'float32' }];
  },
  emit: (to, node) => to.node('GatherElements', ...ends(to, node), { axis: 1 }),
  vjp: () => [undefined, undefined],
};

interface Depth extends Attrs {
  readonly depth: number;
}
/** int64 [n, 1] -> [n, depth] with a 1 at each row's index. */
const oneHotOp: Op<Depth> = {
  name: 'oneHot',
  backward: 'again',
  types: ([at], { depth }) => {
    if (at!.dtype !== 'int64' || at!.shape.length !== 2 || at!.shape[1] !== 1)
      throw new ShapeError('oneHot', 'needs one index a row', [at!]);
    return [{ shape: [at!.shape[0]!, depth], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[at], [y]] = ends(to, node);
    const columns = Array.from({ length: node.attrs.depth }, (_, i) => i);
    to.node('Cast', [step(to, 'Equal', [at!, to.ints(columns)])], [y!], { to: 1 });
  },
  vjp: () => [undefined],
};

/** Root mean square normalisation over the last axis: x [..., d], weight [d]. */
export const rmsNorm = (x: Value, weight: Value, epsilon: number): Value =>
  x.scope.apply(rmsNormOp, [x, weight], { epsilon })[0]!;
/** Normalisation to mean 0 and variance 1 over the last axis: x [..., d], weight and bias [d]. */
export const layerNorm = (x: Value, weight: Value, bias: Value, epsilon: number): Value =>
  x.scope.apply(layerNormOp, [x, weight, bias], { epsilon })[0]!;
export const rotary = (x: Value, positions: Value, cos: Value, sin: Value): Value =>
  x.scope.apply(rotaryOp, [x, positions, cos, sin], {})[0]!;
export const rows = (table: Value, ids: Value): Value => table.scope.apply(rowsOp, [table, ids], {})[0]!;
export const pick = (x: Value, at: Value): Value => x.scope.apply(pickOp, [x, at], {})[0]!;
export const oneHot = (at: Value, depth: number): Value => at.scope.apply(oneHotOp, [at], { depth })[0]!;

export const MODEL = [rmsNormOp, layerNormOp, rotaryOp, rowsOp, pickOp, oneHotOp];
