/** @file The op table, and the functions that apply its ops. */
import { ELEMENTWISE } from './elementwise.ts';
import { LAYOUT } from './layout.ts';
import { MODEL } from './model.ts';
import { PRODUCTS } from './products.ts';
import { QUANTISED } from './quantised.ts';
import { REDUCE } from './reduce.ts';
import type { Op } from '../op.ts';

export { accumulate, add, div, exp, gelu, log, mul, rsqrt, sigmoid, silu, sqrt, sub, tanh } from './elementwise.ts';
export { concat, pad, reshape, slice, split, transpose } from './layout.ts';
export { layerNorm, oneHot, pick, rmsNorm, rotary, rows } from './model.ts';
export { bmm, gemm } from './products.ts';
export { columnPeaks, int4Gradient, int4Product, int8Product, int8Rows, scaleColumns } from './quantised.ts';
export { meanLast, reduceSum, softmax, sumLast } from './reduce.ts';

export const OPS: readonly Op[] = [...ELEMENTWISE, ...LAYOUT, ...MODEL, ...PRODUCTS, ...QUANTISED, ...REDUCE];
