/** @file Products with a frozen weight, in the precision that the base is kept in, and their way back. */
import { isQuantised, type Precision } from '../../contract/recipe.ts';
import { withVjp } from '../autodiff/gradient.ts';
import {
  add,
  gemm,
  int4Gradient,
  int4Product,
  int8Product,
  int8Rows,
  mul,
  rows,
  scaleColumns,
} from '../graph/ops/index.ts';
import type { Scope, Shape, Value } from '../graph/value.ts';
import { BLOCK, int4Names } from '../quantise/int4.ts';
import { int8Names, smoothNames } from '../quantise/int8.ts';

const DTYPE = { fp32: 'float32', fp16: 'float16' } as const;

/** An input of products with frozen weights. */
export interface FrozenInput {
  /** What another product of the same input multiplies: the input itself, or as it was scaled for rounding. */
  readonly x: Value;
  /** Another weight [n, from] for that: as it is, or scaled the other way. */
  readonly matching: (weight: Value) => Value;
  /**
   * x W' [rows, to], plus what it starts from.
   * @param name of the weight [to, from] as an input of the segment.
   * @param start added to the product: [rows, to], or a bias [to].
   */
  readonly product: (name: string, to: number, start?: Value) => Value;
}

/**
 * @param projection of weights that share this input x [rows, from].
 * @param input declares a weight in float32: it may be trained after all.
 */
export function frozenInput(
  precision: Precision,
  projection: string,
  x: Value,
  input = (name: string, shape: Shape): Value => x.scope.input(name, shape),
): FrozenInput {
  const { scope } = x;
  const from = x.shape[1]!;
  const plus = (y: Value, start: Value | undefined): Value => (start ? add(start, y) : y);
  const same = (weight: Value): Value => weight;
  if (!isQuantised(precision)) {
    const weight = precision === 'fp32' ? input : (name: string, shape: Shape) => scope.input(name, shape, 'float16');
    return {
      x,
      matching: same,
      product: (name, to, start) => gemm(x, weight(name, [to, from]), { transB: true, plus: start }),
    };
  }
  if (precision === 'int4')
    return {
      x,
      matching: same,
      product: (name, to, start) => {
        const weight = int4Inputs(scope, name, to, from);
        const y = int4Product(x, weight, BLOCK);
        withVjp(y, [x], (dy) => [int4Gradient(dy, weight, BLOCK, from)]);
        return plus(y, start);
      },
    };
  const shared = smoothNames(projection);
  const smoothed = scaleColumns(x, scope.input(shared.smooth, [from]));
  const rough = scope.input(shared.rough, [from]);
  return {
    x: smoothed,
    matching: (weight) => mul(weight, rough),
    product: (name, to, start) => {
      const names = int8Names(name);
      const weight = scope.input(names.forward, [from, to], 'int8');
      const y = int8Product(smoothed, weight, scope.input(names.forwardScale, [to]), 'signed');
      withVjp(y, [smoothed], (dy) => [frozenGradient(precision, name, dy, from, 'signed')]);
      return plus(y, start);
    },
  };
}

function int4Inputs(scope: Scope, name: string, to: number, from: number): [bits: Value, scale: Value, zero: Value] {
  const names = int4Names(name);
  const blocks = Math.ceil(from / BLOCK);
  return [
    scope.input(names.bits, [to, blocks, BLOCK / 2], 'uint8'),
    scope.input(names.scale, [to * blocks]),
    scope.input(names.zero, [to * blocks], 'uint8'),
  ];
}

/**
 * dy W [rows, from]: the gradient of the `x` that `frozenInput` gave. In int8 both sides are rounded, as in the forward
 * product (SwitchBack, Wortsman et al. 2023), the weight by input this time.
 * @param kind of the numbers of dy: 'shares' are none below zero, and take all 8 bits for what is above.
 */
export function frozenGradient(
  precision: Exclude<Precision, 'int4'>,
  name: string,
  dy: Value,
  from: number,
  kind: 'signed' | 'shares',
): Value {
  const { scope } = dy;
  const to = dy.shape[1]!;
  if (precision !== 'int8') return gemm(dy, scope.input(name, [to, from], DTYPE[precision]));
  const names = int8Names(name);
  return int8Product(
    dy,
    scope.input(names.backward, [to, from], 'int8'),
    scope.input(names.backwardScale, [from]),
    kind,
  );
}

/** The mean of a table's rows [from], which `frozenGradient` and `frozenRows` leave out of a head in int8. */
export const frozenCentre = (scope: Scope, name: string, from: number): Value =>
  scope.input(int8Names(name).centre, [from]);

/** Rows of the weight that `frozenGradient` multiplies with, by int64 ids: [...ids, from]. */
export function frozenRows(
  precision: Exclude<Precision, 'int4'>,
  name: string,
  ids: Value,
  [to, from]: readonly [number, number],
): Value {
  const { scope } = ids;
  if (precision !== 'int8') return rows(scope.input(name, [to, from], DTYPE[precision]), ids);
  const names = int8Names(name);
  return int8Rows(scope.input(names.backward, [to, from], 'int8'), scope.input(names.backwardScale, [from]), ids);
}
