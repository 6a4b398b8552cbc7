/** @file What a lane does, in whichever thread it runs. */
import type { TrainedShape } from '../layers/block.ts';
import type { MicroBatch } from './microbatch.ts';
import type { Network, Trained, TrainSettings } from './network.ts';
import type { TrainedParameters } from './parameters.ts';

/** Something that is trained, as every lane knows it. */
export interface LaneModel {
  readonly shape: TrainedShape;
  /** Input names of the weights beside the blocks that are trained in whole. */
  readonly saved: ReadonlySet<string>;
  readonly parameters: TrainedParameters;
  readonly trained: Trained;
  /** Gradients of the lanes after the first, laid out as the parameters; made when they are first used. */
  readonly others: Float32Array[];
}

/** A micro-batch with its number in the batch. */
export interface Numbered {
  readonly micro: MicroBatch;
  readonly number: number;
  /** Where it is to be trained on. */
  readonly settings?: TrainSettings | undefined;
}

/** One micro-batch after the other. @returns the losses of each one's labels in nats, or of what is trained numbers that add up to them. */
export async function runMicros(
  network: Network,
  list: readonly Numbered[],
  trained: Trained | undefined,
): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  for (const { micro, settings } of list)
    all.push(
      settings && trained
        ? await network.train(micro, trained, settings)
        : await network.losses(micro, await network.forward(micro, trained), trained),
    );
  return all;
}
