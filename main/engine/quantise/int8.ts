/** @file Weights as 8-bit integers: one copy for the forward product, one for the gradient of its input, with SmoothQuant's scaling. */
import { Tensor } from 'onnxruntime-node';
import { discard } from '../../formats/discard.ts';
import { tensor, type Tensors } from '../segments/session.ts';

/** Names of an int8 weight's tensors as inputs of a segment, after the weight's own name. */
export const int8Names = (weight: string) => ({
  /** int8 [from, to], and a scale an output [to]. */
  forward: `${weight}.forward`,
  forwardScale: `${weight}.forward.scale`,
  /** int8 [to, from], and a scale an input [from]. */
  backward: `${weight}.backward`,
  backwardScale: `${weight}.backward.scale`,
  /** Of a table: the mean of its rows [from], which they are kept without. */
  centre: `${weight}.centre`,
});

/** Names of what the weights of one input share, [from]: the input is multiplied by `smooth` before it is rounded, since the weights were by its inverse, `rough`. */
export const smoothNames = (projection: string) => ({
  smooth: `${projection}.smooth`,
  rough: `${projection}.rough`,
});

/** Share of the outliers that goes from the activations to the weights (Xiao et al. 2023, alpha). */
const ALPHA = 0.5;
/** A channel that is never used must not be divided by. */
const SMALLEST = 1e-5;

export interface Weight {
  readonly name: string;
  /** [to, from] */
  readonly data: Float32Array;
}

/**
 * Factors of the inputs that the given weights share, with the mean 1.
 * @param peaks largest magnitude of each input seen in calibration, [from] (Xiao et al. 2023, equation 4).
 */
export function roughness(weights: readonly Weight[], peaks: Float32Array): Float32Array {
  const from = peaks.length;
  const columns = weights.map(({ data }) => columnPeaks(data, from));
  const rough = peaks.map((peak, k) => {
    const column = Math.max(SMALLEST, ...columns.map((each) => each[k]!));
    return Math.max(SMALLEST, peak) ** ALPHA / column ** (1 - ALPHA);
  });
  const mean = rough.reduce((a, b) => a + b, 0) / from;
  return rough.map((r) => r / mean);
}

export const smoothTensors = (projection: string, rough: Float32Array): Tensors => {
  const names = smoothNames(projection);
  const smooth = rough.map((r) => 1 / r);
  return { [names.smooth]: tensor(smooth, [rough.length]), [names.rough]: tensor(rough, [rough.length]) };
};

/**
 * A weight [to, from], its inputs multiplied by `rough` [from], as the tensors of `int8Names`.
 * @param largest what the largest magnitude of a channel is rounded to: 127, or 63 where the CPU's products saturate.
 */
export const int8Weight = (weight: Weight, rough: Float32Array, largest: number): Tensors => ({
  ...forwardCopy(weight, rough, largest),
  ...backwardCopy(weight, rough, largest),
});

/**
 * A head's weight, whose way back is kept without the mean of its rows. The gradient of the head's input is
 * sum p_j (E_j - E_label), which any vector may be taken from, and shares p_j that are rounded to nothing (a tenth of all
 * together, where a model is unsure) then lose what is near zero, not what all rows have in common.
 */
export const int8Head = (weight: Weight, rough: Float32Array, largest: number): Tensors => ({
  ...forwardCopy(weight, rough, largest),
  ...int8Table(weight, rough, largest),
});

/** A table of which rows are looked up, kept without their mean. */
export function int8Table({ name, data }: Weight, rough: Float32Array, largest: number): Tensors {
  const from = rough.length;
  const centre = new Float64Array(from);
  for (let i = 0; i < data.length; i += from) for (let k = 0; k < from; k++) centre[k]! += data[i + k]!;
  for (let k = 0; k < from; k++) centre[k]! /= data.length / from;
  const away = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += from) for (let k = 0; k < from; k++) away[i + k] = data[i + k]! - centre[k]!;
  const copy = backwardCopy({ name, data: away }, rough, largest);
  discard(away);
  return {
    ...copy,
    [int8Names(name).centre]: tensor(
      rough.map((r, k) => r * centre[k]!),
      [from],
    ),
  };
}

/** Adding it and taking it away again rounds a float64 to the nearest integer, halves to even: no call for each of 100 million numbers. */
const TO_INTEGER = 1.5 * 2 ** 52;
/** Outputs that are turned together, so that what is written of them shares a line of the cache. */
const OUTPUTS = 64;

function forwardCopy({ name, data }: Weight, rough: Float32Array, largest: number): Tensors {
  const from = rough.length;
  const to = data.length / from;
  const scale = new Float32Array(to);
  for (let o = 0; o < to; o++) {
    let peak = 0;
    for (let k = 0; k < from; k++) {
      const x = Math.abs(data[o * from + k]! * rough[k]!);
      if (x > peak) peak = x;
    }
    scale[o] = Math.max(SMALLEST, peak) / largest;
  }
  const inverse = Float64Array.from(scale, (s) => 1 / s);
  const forward = new Int8Array(data.length);
  for (let first = 0; first < to; first += OUTPUTS) {
    const end = Math.min(to, first + OUTPUTS);
    for (let k = 0; k < from; k++) {
      const factor = rough[k]!;
      for (let o = first; o < end; o++)
        forward[k * to + o] = data[o * from + k]! * factor * inverse[o]! + TO_INTEGER - TO_INTEGER;
    }
  }
  const names = int8Names(name);
  return {
    [names.forward]: new Tensor('int8', forward, [from, to]),
    [names.forwardScale]: tensor(scale, [to]),
  };
}

function backwardCopy({ name, data }: Weight, rough: Float32Array, largest: number): Tensors {
  const from = rough.length;
  const scale = columnPeaks(data, from).map((column, k) => Math.max(SMALLEST, column * rough[k]!) / largest);
  const factors = Float64Array.from(scale, (s, k) => rough[k]! / s);
  const backward = new Int8Array(data.length);
  for (let i = 0; i < data.length; i += from)
    for (let k = 0; k < from; k++) backward[i + k] = data[i + k]! * factors[k]! + TO_INTEGER - TO_INTEGER;
  const names = int8Names(name);
  return {
    [names.backward]: new Tensor('int8', backward, [data.length / from, from]),
    [names.backwardScale]: tensor(scale, [from]),
  };
}

function columnPeaks(data: Float32Array, from: number): Float32Array {
  const peaks = new Float32Array(from);
  for (let i = 0; i < data.length; i += from)
    for (let k = 0; k < from; k++) {
      const x = Math.abs(data[i + k]!);
      if (x > peaks[k]!) peaks[k] = x;
    }
  return peaks;
}
