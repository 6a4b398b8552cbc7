/** @file What int8 must know of a model before it is rounded: the largest magnitudes of each linear layer's input, over some rows. */
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import type { Network } from '../model/network.ts';
import { Observer, raise } from './observe.ts';

/** Peaks [from] by the projection whose input they are: `model.layers.0.qkv`, `head`. */
export type Calibration = ReadonlyMap<string, Float32Array>;

export const peaksName = (spec: ModelSpec, layer: number | undefined, projection: string): string =>
  layer === undefined ? projection : `${spec.layer(layer)}${projection}`;

/** Of the size that a model's calibration has, and empty. */
export function emptyCalibration(spec: ModelSpec): Map<string, Float32Array> {
  const peaks = new Map([[peaksName(spec, undefined, HEAD), new Float32Array(spec.hidden)]]);
  for (let layer = 0; layer < spec.layers; layer++)
    for (const p of spec.projections) peaks.set(peaksName(spec, layer, p.name), new Float32Array(p.from));
  return peaks;
}

/** Runs some rows through a model in float32 and looks at every linear layer's input. */
export async function calibrate(network: Network, rows: readonly Int32Array[]): Promise<Calibration> {
  const { spec, weights } = network;
  const peaks = emptyCalibration(spec);
  const observer = await Observer.begin(network, rows);
  for (const [layer, own] of weights.layers.entries())
    await observer.pass(layer, own, 'peaks', (projection, [seen]) =>
      raise(peaks.get(peaksName(spec, layer, projection))!, seen!),
    );
  peaks.set(HEAD, await observer.headPeaks());
  observer.release();
  return peaks;
}
