/** @file Something that a person started: whether it is still under way, and what went wrong. */
import { toFettleError, type FettleError } from '../../main/contract/errors.ts';

export class Action {
  busy = $state(false);
  error = $state.raw<FettleError>();

  /** Does it, once at a time. Undefined where it failed; the error then stands in `error`. */
  async run<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    this.error = undefined;
    try {
      return await work();
    } catch (error) {
      this.error = toFettleError(error);
      return undefined;
    } finally {
      this.busy = false;
    }
  }
}
