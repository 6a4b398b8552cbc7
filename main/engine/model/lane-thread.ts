/** @file Entry of a lane's thread: a network over the memory of the one that started it, and what it is asked to run. */
import { parentPort, workerData } from 'node:worker_threads';
import { toFettleError, type ErrorShape } from '../../contract/errors.ts';
import type { HfConfig } from '../../formats/model.ts';
import { readSpec } from '../architectures/index.ts';
import type { DType, Shape } from '../graph/value.ts';
import type { TrainedShape } from '../layers/block.ts';
import { SessionCache, weightTensor, type RuntimeOptions, type Tensors, type WeightData } from '../segments/session.ts';
import { HostMemory } from '../segments/memory.ts';
import { runMicros, type Numbered } from './lane.ts';
import { Network, type Trained } from './network.ts';
import { trainedParameters, trainedTensors } from './parameters.ts';

/** A tensor as it goes from thread to thread: what is in shared memory stays where it is. */
export interface SharedTensor {
  readonly type: DType;
  readonly data: WeightData;
  readonly dims: Shape;
}
export type SharedTensors = Readonly<Record<string, SharedTensor>>;

export interface LaneStart {
  readonly config: HfConfig;
  readonly options: RuntimeOptions;
  readonly weights: {
    readonly embedding: SharedTensors;
    readonly final: SharedTensors;
    readonly head: SharedTensors;
    readonly layers: readonly SharedTensors[];
  };
}

export type ToLane =
  | {
      readonly type: 'model';
      /** By which it is asked for. */
      readonly model: number;
      readonly shape: TrainedShape;
      readonly saved: ReadonlySet<string>;
      readonly values: Float32Array;
      readonly gradients: Float32Array | undefined;
    }
  | { readonly type: 'run'; readonly model: number | undefined; readonly list: readonly Numbered[] }
  | { readonly type: 'close' };

export type FromLane = { readonly losses: readonly Float32Array[] } | { readonly error: ErrorShape };

const { config, options, weights } = workerData as LaneStart;
const port = parentPort!;
const spec = readSpec(config);
const tensors = (shared: SharedTensors): Tensors =>
  Object.fromEntries(
    Object.entries(shared).map(([name, { type, data, dims }]) => [name, weightTensor(type, data, dims)]),
  );
const held = {
  embedding: tensors(weights.embedding),
  final: tensors(weights.final),
  head: tensors(weights.head),
  layers: weights.layers.map(tensors),
};
const network = new Network(
  spec,
  { weights: held },
  new SessionCache(options, new Set(spec.kinds).size),
  new HostMemory(),
);
const models = new Map<number, Trained>();

async function answer(message: Exclude<ToLane, { type: 'model' }>): Promise<FromLane> {
  if (message.type === 'run') {
    const trained = message.model === undefined ? undefined : models.get(message.model);
    return { losses: await runMicros(network, message.list, trained) };
  }
  await network.release();
  await network.cache.release();
  return { losses: [] };
}

port.on('message', (message: ToLane) => {
  if (message.type === 'model') {
    const { shape, saved, values, gradients } = message;
    const parameters = trainedParameters(spec, shape, saved, { values, gradients });
    models.set(message.model, { shape, ...trainedTensors(parameters) });
    return;
  }
  answer(message).then(
    (said) => port.postMessage(said),
    (error: unknown) => port.postMessage({ error: toFettleError(error).toShape() } satisfies FromLane),
  );
});
