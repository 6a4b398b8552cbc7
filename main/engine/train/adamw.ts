/** @file AdamW (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2) and clipping by the global norm, on flat buffers. */
import { FettleError } from '../../contract/errors.ts';
import type { AdamWOptions, Optimizer, ParameterSet } from '../types.ts';

/**
 * The optimiser of one parameter set. Its state is two buffers in the parameters' layout and a count of steps.
 * In the order of torch.optim.AdamW, whose float32 results it matches to rounding: arithmetic here is in float64,
 * rounded to float32 where it is stored.
 */
export class AdamW implements Optimizer {
  /** First moment, float32, laid out as `ParameterSet.values`. */
  readonly first: Float32Array;
  /** Second moment, float32, laid out as `ParameterSet.values`. */
  readonly second: Float32Array;
  /** Updates done so far. */
  steps = 0;
  readonly #parameters: ParameterSet;
  readonly #options: AdamWOptions;

  constructor(parameters: ParameterSet, options: AdamWOptions) {
    this.#parameters = parameters;
    this.#options = options;
    this.first = new Float32Array(parameters.values.length);
    this.second = new Float32Array(parameters.values.length);
  }

  zero(): void {
    this.#parameters.gradients.fill(0);
  }

  clip(maxNorm: number): number {
    return clipGradients(this.#parameters.gradients, maxNorm);
  }

  /** One update of `values` from `gradients`, which stay as they are. */
  step(learningRate: number): void {
    this.steps++;
    for (const entry of this.#parameters.entries) {
      const rate = learningRate * rateFactor(entry, this.#options);
      this.#update(entry, rate, rate * decayOf(entry, this.#options));
    }
  }

  #update({ offset, size }: ParameterSet['entries'][number], learningRate: number, decay: number): void {
    const { beta1, beta2, epsilon } = this.#options;
    const { values, gradients } = this.#parameters;
    const { first, second } = this;
    const keep = 1 - decay;
    const rate = learningRate / (1 - beta1 ** this.steps);
    const secondCorrection = 1 / Math.sqrt(1 - beta2 ** this.steps);
    const [take1, take2] = [1 - beta1, 1 - beta2];
    for (let i = offset; i < offset + size; i++) {
      const gradient = gradients[i]!;
      const m = Math.fround(beta1 * first[i]! + take1 * gradient);
      const v = Math.fround(beta2 * second[i]! + take2 * gradient * gradient);
      first[i] = m;
      second[i] = v;
      values[i] = values[i]! * keep - (rate * m) / (Math.sqrt(v) * secondCorrection + epsilon);
    }
  }

  /** Takes over the state of a checkpoint. Throws CHECKPOINT_INVALID where the sizes differ. */
  restore(first: Float32Array, second: Float32Array, steps: number): void {
    takeMoments(this, first, second);
    this.steps = steps;
  }

  read(): void {
    // Values and moments are the host's own.
  }

  write(): void {
    // As above.
  }
}

/** Throws CHECKPOINT_INVALID where the sizes differ. */
export function takeMoments(own: Pick<Optimizer, 'first' | 'second'>, first: Float32Array, second: Float32Array): void {
  if (first.length !== own.first.length || second.length !== own.second.length)
    throw new FettleError('CHECKPOINT_INVALID', 'The optimiser state of the checkpoint is of another size.');
  own.first.set(first);
  own.second.set(second);
}

type Entry = ParameterSet['entries'][number];

/** An entry's rate over the others' (LoRA+). */
export const rateFactor = ({ name }: Entry, { loraPlusRatio = 1 }: AdamWOptions): number =>
  name.endsWith('.lora_B.weight') ? loraPlusRatio : 1;

/** An entry's share of the weight decay. */
export const decayOf = ({ shape }: Entry, { weightDecay, weightDecayOn = 'matrices' }: AdamWOptions): number =>
  weightDecayOn === 'all' || shape.length > 1 ? weightDecay : 0;

/**
 * Scales gradients down to a global L2 norm, as torch.nn.utils.clip_grad_norm_: by maxNorm / (norm + 1e-6), never up.
 * @param maxNorm 0 leaves the gradients as they are.
 * @returns the norm before, summed in float64; not finite where a gradient is not.
 */
export function clipGradients(gradients: Float32Array, maxNorm: number): number {
  let sum = 0;
  for (const gradient of gradients) sum += gradient * gradient;
  const norm = Math.sqrt(sum);
  const factor = clipFactor(norm, maxNorm);
  if (factor < 1) for (let i = 0; i < gradients.length; i++) gradients[i]! *= factor;
  return norm;
}

/** What gradients of a norm are scaled by; 1 where they stay as they are. */
export function clipFactor(norm: number, maxNorm: number): number {
  const factor = maxNorm / (norm + 1e-6);
  return maxNorm > 0 && factor < 1 ? factor : 1;
}
