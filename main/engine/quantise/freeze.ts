/** @file Puts a base's linear weights into the precision that it is kept in. */
import type { Precision } from '../../contract/recipe.ts';
import { FettleError } from '../../contract/errors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import type { Freeze } from '../model/weights.ts';
import { numbers } from '../segments/session.ts';
import { peaksName, type Calibration } from './calibration.ts';
import { int8Weight } from './int8.ts';

/** What a base in int8 was rounded by: kept with a run's checkpoints, since it decides every bit that follows. */
export interface Rounding {
  /** Token ids of the rows that were looked at. */
  readonly rows: readonly Int32Array[];
  readonly peaks: Calibration;
  /** The largest magnitude of a weight: 127, or 63 where the CPU's products of 8 bits saturate. */
  readonly largest: number;
}

/** Throws CHECKPOINT_INVALID where the rounding is of another model. */
export function freezer(spec: ModelSpec, precision: Precision, rounding: Rounding | undefined): Freeze {
  if (precision === 'fp32') return (_layer, name, weight) => ({ [name]: weight });
  return (layer, name, weight) => {
    const peaks = rounding?.peaks.get(peaksName(spec, layer, name));
    if (!rounding || peaks?.length !== weight.dims[1])
      throw new FettleError('CHECKPOINT_INVALID', 'What int8 was rounded by belongs to another model.');
    return int8Weight(name, numbers(weight), peaks!, rounding.largest);
  };
}
