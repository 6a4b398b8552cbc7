/** @file Puts a base's weights into the precision that it is kept in. */
import type { Precision } from '../../contract/recipe.ts';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import type { Freeze, LinearWeight } from '../model/weights.ts';
import { numbers, type Tensors } from '../segments/session.ts';
import { peaksName, type Calibration } from './calibration.ts';
import { int4Weight } from './int4.ts';
import { int8Table, int8Weight, roughness, smoothTensors } from './int8.ts';

/** What a base in fewer bits was rounded by: kept with a run's checkpoints, since it decides every bit that follows. */
export interface Rounding {
  /** Token ids of the rows that were looked at for int8; int4 looks at none. */
  readonly rows: readonly Int32Array[];
  readonly peaks: Calibration;
  /** The largest magnitude of an 8-bit weight: 127, or 63 where the CPU's products of 8 bits saturate. */
  readonly largest: number;
}

/** Throws CHECKPOINT_INVALID where the rounding is of another model. */
export function freezer(spec: ModelSpec, precision: Precision, rounding: Rounding | undefined): Freeze {
  const plain: Freeze = {
    linear: (_layer, _projection, weights) => Object.fromEntries(weights.map(({ name, tensor }) => [name, tensor])),
    head: (weight) => ({ [HEAD]: weight }),
    embedding: (embedding) => ({ embedding }),
  };
  if (precision === 'fp32') return plain;
  if (!rounding) throw new TypeError('fewer bits need to be told how to round');
  const { largest, peaks } = rounding;

  function int8(projection: string, weights: readonly LinearWeight[], rough: Float32Array): Tensors {
    const each = weights.map(({ name, tensor }) => int8Weight({ name, data: numbers(tensor) }, rough, largest));
    return Object.assign(smoothTensors(projection, rough), ...each) as Tensors;
  }
  const evenly = (from: number): Float32Array => new Float32Array(from).fill(1);
  if (precision === 'int4')
    return {
      linear: (_layer, _projection, weights) =>
        Object.assign({}, ...weights.map(({ name, tensor }) => int4Weight(name, tensor))) as Tensors,
      head: (weight) => int8(HEAD, [{ name: HEAD, tensor: weight }], evenly(spec.hidden)),
      // A tied head has the embedding as its way back.
      embedding: (weight, head) =>
        head ?? int8Table({ name: 'embedding', data: numbers(weight) }, evenly(spec.hidden), largest),
    };

  function rounded(layer: number | undefined, projection: string, weights: readonly LinearWeight[]): Tensors {
    const seen = peaks.get(peaksName(spec, layer, projection));
    if (!seen || seen.length !== weights[0]!.tensor.dims[1])
      throw new FettleError('CHECKPOINT_INVALID', 'What int8 was rounded by belongs to another model.');
    const plainWeights = weights.map(({ name, tensor }) => ({ name, data: numbers(tensor) }));
    return int8(projection, weights, roughness(plainWeights, seen));
  }
  return { ...plain, linear: rounded, head: (tensor) => rounded(undefined, HEAD, [{ name: HEAD, tensor }]) };
}
