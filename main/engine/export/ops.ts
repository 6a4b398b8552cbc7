/** @file Ops that only graphs for other programs need: lengths there are known when they run, not before. */
import { ends, step, type Op } from '../graph/op.ts';
import { FREE, ShapeError, type Attrs, type Value } from '../graph/value.ts';
import { MASKED } from '../layers/attention.ts';

type None = Record<string, never>;

/** The lengths of a tensor as int64 [rank]. */
const lengthsOp: Op<None> = {
  name: 'lengths',
  backward: 'again',
  types: ([x]) => [{ shape: [x!.shape.length], dtype: 'int64' }],
  emit: (to, node) => to.node('Shape', ...ends(to, node)),
  vjp: () => [undefined],
};

/** Rows put back into batch and time: x [batch * time, n], lengths int64 [2] -> [batch, time, n]. */
const unflattenOp: Op<None> = {
  name: 'unflatten',
  backward: 'again',
  types: ([x, lengths]) => {
    if (x!.shape.length !== 2 || lengths!.shape[0] !== 2)
      throw new ShapeError('unflatten', 'needs rows and the lengths of batch and time', [x!, lengths!]);
    return [{ shape: [FREE, FREE, x!.shape[1]!], dtype: x!.dtype }];
  },
  emit: (to, node) => {
    const [[x, lengths], outputs] = ends(to, node);
    const shape = step(to, 'Concat', [lengths!, to.ints([node.inputs[0]!.shape[1]!])], { axis: 0 });
    to.node('Reshape', [x!, shape], outputs);
  },
  vjp: () => [undefined, undefined],
};

/** Half of what is as good as minus infinity in float16, so that a score added to it stays a number. */
const MASKED_HALF = -32768;

interface Window extends Attrs {
  /** Keys that a query sees, its own included; 0 for all. */
  readonly window: number;
}
/**
 * What is added to scores: zero where a query may look, MASKED elsewhere. ids [batch, time], seen int64 [batch, total]
 * with 0 where a token is padding -> [batch, 1, 1, time, total]. The queries are the last `time` of `total` places.
 */
const maskOp: Op<Window> = {
  name: 'mask',
  backward: 'again',
  types: ([ids, seen]) => {
    if (ids!.shape.length !== 2 || seen!.shape.length !== 2)
      throw new ShapeError('mask', 'needs ids [batch, time] and a mask [batch, total]', [ids!, seen!]);
    return [{ shape: [FREE, 1, 1, FREE, FREE], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [[ids, seen], [y]] = ends(to, node);
    const scalar = (vector: string): string => step(to, 'Squeeze', [vector]);
    const length = (of: string): string => scalar(step(to, 'Shape', [of], { start: 1, end: 2 }));
    const [total, time] = [length(seen!), length(ids!)];
    const [zero, one] = [scalar(to.ints([0])), scalar(to.ints([1]))];
    const keys = step(to, 'Range', [zero, total, one]);
    const places = step(to, 'Range', [step(to, 'Sub', [total, time]), total, one]);
    const queries = step(to, 'Unsqueeze', [places, to.ints([1])]);
    let visible = step(to, 'LessOrEqual', [keys, queries]);
    const { window } = node.attrs;
    if (window > 0) {
      const first = step(to, 'Sub', [queries, scalar(to.ints([window]))]);
      visible = step(to, 'And', [visible, step(to, 'Greater', [keys, first])]);
    }
    const real = step(to, 'Unsqueeze', [step(to, 'Greater', [seen!, zero]), to.ints([1, 2, 3])]);
    const masked = to.scalar(to.float === 'float16' ? MASKED_HALF : MASKED);
    to.node('Where', [step(to, 'And', [visible, real]), to.scalar(0), masked], [y!]);
  },
  vjp: () => [undefined, undefined],
};

export const lengths = (x: Value): Value => x.scope.apply(lengthsOp, [x], {})[0]!;
export const unflatten = (x: Value, lengths: Value): Value => x.scope.apply(unflattenOp, [x, lengths], {})[0]!;
export const attentionMask = (ids: Value, seen: Value, window = 0): Value =>
  ids.scope.apply(maskOp, [ids, seen], { window })[0]!;
