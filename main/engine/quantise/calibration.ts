/** @file What int8 must know of a model before it is rounded: the largest magnitudes of each linear layer's input, over some rows. */
import { discard } from '../../formats/discard.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import { blockShape, byLayer, type Network } from '../model/network.ts';
import { documentBatch, LENGTH_STEP, microBatches } from '../model/microbatch.ts';
import { observingSegment } from '../model/segments.ts';
import { numbers, zeros } from '../segments/session.ts';
import type { Example } from '../types.ts';

/** Rows that are looked at (Xiao et al. 2023 take more; 16 kept the loss, docs/decisions/engine-speed.md). */
const CALIBRATION_ROWS = 16;
/** Tokens of each. */
const LONGEST = 128;

/** Peaks [from] by the projection whose input they are: `model.layers.0.qkv`, `head`. */
export type Calibration = ReadonlyMap<string, Float32Array>;

export const peaksName = (spec: ModelSpec, layer: number | undefined, projection: string): string =>
  layer === undefined ? projection : `${spec.layer(layer)}${projection}`;

/** The rows to look at: the first of the training examples, cut so that nothing is padded, since what padding says would be counted too. */
export const calibrationRows = (examples: readonly Example[]): Int32Array[] =>
  examples.slice(0, CALIBRATION_ROWS).map(({ ids }) => {
    const length = Math.max(LENGTH_STEP, Math.min(LONGEST, Math.floor(ids.length / LENGTH_STEP) * LENGTH_STEP));
    return Int32Array.from({ length }, (_, i) => ids[i % ids.length]!);
  });

/** Of the size that a model's calibration has at most, and empty. */
export function emptyCalibration(spec: ModelSpec): { peaks: Calibration; rows: Int32Array[] } {
  const peaks = new Map([[peaksName(spec, undefined, HEAD), new Float32Array(spec.hidden)]]);
  for (let layer = 0; layer < spec.layers; layer++)
    for (const p of spec.projections) peaks.set(peaksName(spec, layer, p.name), new Float32Array(p.from));
  return { peaks, rows: Array.from({ length: CALIBRATION_ROWS }, () => new Int32Array(LONGEST)) };
}

/** Runs some rows through a model in float32 and looks at every linear layer's input. */
export async function calibrate(network: Network, rows: readonly Int32Array[]): Promise<Calibration> {
  const { spec, cache, weights } = network;
  const peaks = new Map<string, Float32Array>();
  const see = (name: string, found: Float32Array): void => {
    const known = peaks.get(name);
    if (!known) peaks.set(name, found.slice());
    else found.forEach((peak, i) => (known[i] = Math.max(known[i]!, peak)));
  };
  // Rows of one length go together: nothing is padded, and each is looked at as it would be alone.
  for (const alike of Map.groupBy(rows, (row) => row.length).values())
    for (const micro of microBatches(documentBatch(...alike))) {
      const layers = await byLayer(spec, async (kind) => ({
        forward: (await observingSegment(cache, spec, blockShape(kind, micro, undefined))).forward,
        shared: await network.shared(kind, micro),
      }));
      let x = await network.embed(micro.ids, micro.positions, undefined);
      for (let layer = 0; layer < spec.layers; layer++) {
        const { forward, shared } = layers[layer]!;
        const out = Object.fromEntries([...forward.program.outputs].map(([name, type]) => [name, zeros(type.shape)]));
        await forward.run([shared, weights.layers[layer]!, { x }], out);
        if (layer > 0) discard(numbers(x));
        for (const p of spec.projections) see(peaksName(spec, layer, p.name), numbers(out[`peaks.${p.name}`]!));
        x = out['y']!;
      }
      see(HEAD, await network.headPeaks(x, micro.places));
    }
  return peaks;
}
