/** @file One thread's share of what this machine multiplies in a second, as JSON: started once for each thread, all at the same time. */
import { measureSpeeds, type ProductSizes } from '../../main/engine/quantise/kernels.ts';

/** SmolLM2's and larger ones: a peak is the best of any. */
const SIZES: readonly ProductSizes[] = [
  [256, 576, 3072],
  [512, 1536, 576],
  [512, 2048, 2048],
];
const found = [];
for (const sizes of SIZES) found.push(await measureSpeeds({ threads: 1 }, sizes));
console.log(
  JSON.stringify({
    fp32: Math.max(...found.map(({ fp32 }) => fp32)),
    int8: Math.max(...found.map(({ int8 }) => int8)),
  }),
);
