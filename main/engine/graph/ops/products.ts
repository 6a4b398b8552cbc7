/** @file Matrix products: Gemm for two matrices, bmm for stacks of them. */
import { CONTRIB, ends, step, turned, type Op } from '../op.ts';
import { ShapeError, type Attrs, type Value } from '../value.ts';
import { broadcast, unbroadcast } from './elementwise.ts';
import { halfGemm, halfGemmBytes, isHalf } from './halves.ts';

interface Product extends Attrs {
  readonly transA: number;
  readonly transB: number;
  readonly alpha: number;
}

/** Rows and columns of the last two axes, after the transposition. */
const matrix = (v: Value, transposed: number): [number, number] => {
  const [m, n] = [v.shape.at(-2)!, v.shape.at(-1)!];
  return transposed ? [n, m] : [m, n];
};

/**
 * alpha op(a) op(b) + c, with c of the result's shape or a row [n]. b may be a frozen weight in float16: it is widened
 * beside the product, which is one of float32 then, sums included, and has no gradient.
 */
export const gemmOp: Op<Product> = {
  name: 'gemm',
  backward: 'keep',
  inner: (node, device) => (isHalf(node.inputs[1]!) ? halfGemmBytes(node, device) : 0),
  types: ([a, b, c], { transA, transB }) => {
    if (a!.shape.length !== 2 || b!.shape.length !== 2) throw new ShapeError('gemm', 'needs two matrices', [a!, b!]);
    if (a!.dtype !== 'float32' || !(b!.dtype === 'float32' || (isHalf(b!) && transA === 0)))
      throw new ShapeError('gemm', 'needs float32, or a second matrix in float16', [a!, b!]);
    const [[m, k], [k2, n]] = [matrix(a!, transA), matrix(b!, transB)];
    if (k !== k2) throw new ShapeError('gemm', `inner sizes ${k} and ${k2} differ`, [a!, b!]);
    if (c && !(c.shape.at(-1) === n && (c.shape.length === 1 || (c.shape.length === 2 && c.shape[0] === m))))
      throw new ShapeError('gemm', `what is added does not fit [${m}, ${n}]`, [a!, b!, c]);
    return [{ shape: [m, n], dtype: 'float32' }];
  },
  emit: (to, node) => {
    if (isHalf(node.inputs[1]!)) return halfGemm(to, node);
    const { transA, transB, alpha } = node.attrs;
    const [[a, b, ...c], outputs] = ends(to, node);
    // A graphics processor reads the rows of b across: turned before, the product takes half the time or less.
    const turn = to.device === 'webgpu' && transB === 1;
    const attributes = { transA, transB: turn ? 0 : transB, alpha: { float: alpha } };
    to.node('Gemm', [a!, turn ? turned(to, b!, 2) : b!, ...c], outputs, attributes);
  },
  vjp: ({ inputs: [a, b, c], attrs: { transA, transB, alpha } }, [dy]) => {
    const [ta, tb] = [transA === 1, transB === 1];
    return [
      ta ? gemm(b!, dy!, { transA: tb, transB: true, alpha }) : gemm(dy!, b!, { transB: !tb, alpha }),
      isHalf(b!)
        ? undefined
        : tb
          ? gemm(dy!, a!, { transA: true, transB: ta, alpha })
          : gemm(a!, dy!, { transA: !ta, alpha }),
      ...(c ? [unbroadcast(dy!, c.shape)] : []),
    ];
  },
};

/** Over the last two axes; the leading axes broadcast. WebGPU has no FusedMatMul: there as Transpose, MatMul, Mul. */
const bmmOp: Op<Product> = {
  name: 'bmm',
  backward: 'keep',
  types: ([a, b], { transA, transB }) => {
    if (a!.shape.length < 2 || b!.shape.length < 2) throw new ShapeError('bmm', 'needs matrices', [a!, b!]);
    const [[m, k], [k2, n]] = [matrix(a!, transA), matrix(b!, transB)];
    if (k !== k2) throw new ShapeError('bmm', `inner sizes ${k} and ${k2} differ`, [a!, b!]);
    return [{ shape: [...broadcast('bmm', a!, b!, 2), m, n], dtype: 'float32' }];
  },
  emit: (to, node) => {
    const [inputs, [y]] = ends(to, node);
    const { transA, transB, alpha } = node.attrs;
    if (to.device === 'cpu')
      return to.node('FusedMatMul', inputs, [y!], { transA, transB, alpha: { float: alpha } }, CONTRIB);
    const plain = inputs.map((name, i) =>
      (i === 0 ? transA : transB) ? turned(to, name, node.inputs[i]!.shape.length) : name,
    );
    if (alpha === 1) return to.node('MatMul', plain, [y!]);
    to.node('Mul', [step(to, 'MatMul', plain), to.scalar(alpha)], [y!]);
  },
  vjp: ({ inputs: [a, b], attrs: { transA, transB, alpha } }, [dy]) => {
    const [ta, tb] = [transA === 1, transB === 1];
    const da = ta ? bmm(b!, dy!, { transA: tb, transB: true, alpha }) : bmm(dy!, b!, { transB: !tb, alpha });
    const db = tb ? bmm(dy!, a!, { transA: true, transB: ta, alpha }) : bmm(a!, dy!, { transA: !ta, alpha });
    return [unbroadcast(da, a!.shape), unbroadcast(db, b!.shape)];
  },
};

export interface ProductOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** Factor of the product; costs nothing. */
  readonly alpha?: number;
}
const attrs = ({ transA = false, transB = false, alpha = 1 }: ProductOptions): Product => ({
  transA: transA ? 1 : 0,
  transB: transB ? 1 : 0,
  alpha,
});

/** alpha op(a) op(b) + plus, for matrices; `plus` is [m, n], or [n] for a bias. */
export const gemm = (a: Value, b: Value, options: ProductOptions & { readonly plus?: Value | undefined } = {}): Value =>
  a.scope.apply(gemmOp, options.plus ? [a, b, options.plus] : [a, b], attrs(options))[0]!;

/** alpha op(a) op(b) for stacks of matrices over the last two axes. */
export const bmm = (a: Value, b: Value, options: ProductOptions = {}): Value =>
  a.scope.apply(bmmOp, [a, b], attrs(options))[0]!;

export const PRODUCTS = [gemmOp, bmmOp];
