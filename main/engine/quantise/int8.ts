/** @file Weights as 8-bit integers: one copy for the forward product, one for the gradient of its input, with SmoothQuant's scaling. */
import { Tensor } from 'onnxruntime-node';
import { tensor, type Tensors } from '../segments/session.ts';

/** Names of an int8 weight's tensors as inputs of a segment, after the weight's own name. */
export const int8Names = (weight: string) => ({
  /** int8 [from, to], and a scale an output [to]. */
  forward: `${weight}.forward`,
  forwardScale: `${weight}.forward.scale`,
  /** int8 [to, from], and a scale an input [from]. */
  backward: `${weight}.backward`,
  backwardScale: `${weight}.backward.scale`,
  /** [from]: an input is multiplied by `smooth` before it is rounded, since the weight was by its inverse, `rough`. */
  smooth: `${weight}.smooth`,
  rough: `${weight}.rough`,
});

/** Share of the outliers that goes from the activations to the weights (Xiao et al. 2023, alpha). */
const ALPHA = 0.5;
/** A channel that is never used must not be divided by. */
const SMALLEST = 1e-5;

/**
 * A weight [to, from] as the tensors of `int8Names`.
 * @param peaks largest magnitude of each input seen in calibration, [from] (Xiao et al. 2023, equation 4); without them
 * nothing is shifted between weight and activations.
 * @param largest what the largest magnitude of a channel is rounded to: 127, or 63 where the CPU's products saturate.
 * @param tableOnly for rows that are looked up and never multiplied with: the copy by rows alone.
 */
export function int8Weight(
  name: string,
  weight: Float32Array,
  [to, from]: readonly [number, number],
  peaks: Float32Array | undefined,
  largest: number,
  tableOnly = false,
): Tensors {
  const columns = new Float32Array(from);
  for (let i = 0; i < weight.length; i += from)
    for (let k = 0; k < from; k++) columns[k] = Math.max(columns[k]!, Math.abs(weight[i + k]!));
  const rough = columns.map((column, k) =>
    peaks ? Math.max(SMALLEST, peaks[k]!) ** ALPHA / Math.max(SMALLEST, column) ** (1 - ALPHA) : 1,
  );
  const mean = rough.reduce((a, b) => a + b, 0) / from;
  for (let k = 0; k < from; k++) rough[k]! /= mean;

  const rowPeaks = new Float32Array(to);
  for (let o = 0; o < to; o++)
    for (let k = 0; k < from; k++) {
      const magnitude = Math.abs(weight[o * from + k]! * rough[k]!);
      if (magnitude > rowPeaks[o]!) rowPeaks[o] = magnitude;
    }
  const forwardScale = rowPeaks.map((peak) => Math.max(SMALLEST, peak) / largest);
  const backwardScale = columns.map((column, k) => Math.max(SMALLEST, column * rough[k]!) / largest);
  const forward = new Int8Array(weight.length);
  const backward = new Int8Array(weight.length);
  for (let o = 0; o < to; o++)
    for (let k = 0; k < from; k++) {
      const value = weight[o * from + k]! * rough[k]!;
      forward[k * to + o] = Math.round(value / forwardScale[o]!);
      backward[o * from + k] = Math.round(value / backwardScale[k]!);
    }
  const names = int8Names(name);
  const table = {
    [names.backward]: new Tensor('int8', backward, [to, from]),
    [names.backwardScale]: tensor(backwardScale, [from]),
  };
  if (tableOnly) return table;
  return {
    ...table,
    [names.forward]: new Tensor('int8', forward, [from, to]),
    [names.forwardScale]: tensor(forwardScale, [to]),
    [names.smooth]: tensor(
      rough.map((r) => 1 / r),
      [from],
    ),
    [names.rough]: tensor(rough, [from]),
  };
}
