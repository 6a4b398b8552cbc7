/** @file A lane in another thread, as the one that starts it sees it. */
import { Worker } from 'node:worker_threads';
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../../formats/model.ts';
import type { DType } from '../graph/value.ts';
import type { RuntimeOptions, Tensors, WeightData } from '../segments/session.ts';
import type { LaneModel, Numbered } from './lane.ts';
import type { FromLane, LaneStart, SharedTensors, ToLane } from './lane-thread.ts';
import type { BaseWeights } from './weights.ts';

export class LaneThread {
  /** What the thread multiplies with. */
  readonly weights: BaseWeights;
  readonly #worker: Worker;
  #pending: PromiseWithResolvers<readonly Float32Array[]> | undefined;
  /** Why the thread is no more: nothing that is asked of it from then on would ever be answered. */
  #ended: Error | undefined;
  /** Models that the thread was told of, and whether with gradients. */
  readonly #told = new Map<LaneModel, { readonly number: number; readonly trains: boolean }>();

  /** @param weights in shared memory. */
  constructor(config: HfConfig, options: RuntimeOptions, weights: BaseWeights) {
    this.weights = weights;
    const start: LaneStart = {
      config,
      options,
      weights: {
        embedding: plain(weights.embedding),
        final: plain(weights.final),
        head: plain(weights.head),
        layers: weights.layers.map(plain),
      },
    };
    this.#worker = new Worker(new URL('./lane-thread.ts', import.meta.url), { workerData: start });
    this.#worker.unref();
    this.#worker.on('message', (answer: FromLane) => {
      if ('error' in answer) this.#pending?.reject(FettleError.fromShape(answer.error));
      else this.#pending?.resolve(answer.losses);
    });
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', (code) => this.#end(new Error(`A thread of the engine ended with ${code}.`)));
  }

  /** Losses of each micro-batch. @param gradients to which those of the ones that are trained on are added. */
  async run(
    list: readonly Numbered[],
    model: LaneModel | undefined,
    gradients: Float32Array | undefined,
  ): Promise<readonly Float32Array[]> {
    return this.#ask({ type: 'run', model: model && this.#numberOf(model, gradients), list });
  }

  /** Frees what the thread holds, and ends it; of one that has ended by itself nothing is left to free. */
  async close(): Promise<void> {
    if (this.#ended) return;
    await this.#ask({ type: 'close' });
    await this.#worker.terminate();
  }

  #numberOf(model: LaneModel, gradients: Float32Array | undefined): number {
    const known = this.#told.get(model);
    if (known && (known.trains || !gradients)) return known.number;
    const number = known?.number ?? this.#told.size;
    this.#told.set(model, { number, trains: gradients !== undefined });
    const { shape, saved, parameters } = model;
    this.#send({ type: 'model', model: number, shape, saved, values: parameters.values, gradients });
    return number;
  }

  #send(message: ToLane): void {
    this.#worker.postMessage(message);
  }

  #end(why: Error): void {
    this.#ended ??= why;
    this.#pending?.reject(this.#ended);
  }

  /** Rejects where the thread has ended, or ends before it answers. */
  #ask(message: ToLane): Promise<readonly Float32Array[]> {
    if (this.#ended) return Promise.reject(this.#ended);
    this.#pending = Promise.withResolvers();
    this.#worker.ref();
    this.#send(message);
    // It keeps no process alive while it has nothing to do.
    return this.#pending.promise.finally(() => this.#worker.unref());
  }
}

/** Without what a tensor cannot take along. */
const plain = (tensors: Tensors): SharedTensors =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]: [string, Tensor]) => [
      name,
      { type: type as DType, data: data as WeightData, dims },
    ]),
  );
