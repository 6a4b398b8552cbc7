/** @file Puts a base's weights into the precision that it is kept in. */
import type { Precision } from '../../contract/recipe.ts';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { HEAD } from '../layers/head.ts';
import type { Freeze } from '../model/weights.ts';
import { numbers } from '../segments/session.ts';
import { peaksName, type Calibration } from './calibration.ts';
import { int4Weight } from './int4.ts';
import { int8Weight } from './int8.ts';

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
    linear: (_layer, name, weight) => ({ [name]: weight }),
    head: (weight) => ({ [HEAD]: weight }),
    embedding: (embedding) => ({ embedding }),
  };
  if (precision === 'fp32') return plain;
  const largest = rounding?.largest;
  if (largest === undefined) throw new TypeError('fewer bits need to be told how to round');
  if (precision === 'int4')
    return {
      linear: (_layer, name, weight) => int4Weight(name, numbers(weight), weight.dims as [number, number]),
      head: (weight) => int8Weight(HEAD, numbers(weight), weight.dims as [number, number], undefined, largest),
      // A tied head has the embedding as its way back.
      embedding: (weight, head) =>
        head ?? int8Weight('embedding', numbers(weight), weight.dims as [number, number], undefined, largest, true),
    };
  const rounded = (layer: number | undefined, name: string, weight: Parameters<Freeze['head']>[0]) => {
    const peaks = rounding?.peaks.get(peaksName(spec, layer, name));
    if (peaks?.length !== weight.dims[1])
      throw new FettleError('CHECKPOINT_INVALID', 'What int8 was rounded by belongs to another model.');
    return int8Weight(name, numbers(weight), weight.dims as [number, number], peaks, largest);
  };
  return { ...plain, linear: rounded, head: (weight) => rounded(undefined, HEAD, weight) };
}
