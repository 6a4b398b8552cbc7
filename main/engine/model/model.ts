/** @file A base model in memory, and the same with a trainable LoRA adapter on it. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig, WeightSource } from '../../formats/model.ts';
import { readSpec } from '../architectures/index.ts';
import { modulesOf, type ModelSpec } from '../architectures/spec.ts';
import { SessionCache, type RuntimeOptions } from '../segments/session.ts';
import type { Batch, Decoder, ParameterSet, Trainable } from '../types.ts';
import type { AdapterShape } from '../layers/block.ts';
import { CachedDecoder } from './decoder.ts';
import { microBatches, type MicroBatch } from './microbatch.ts';
import { Network, type AdapterLayers } from './network.ts';
import { adapterParameters, adapterTensors, initialise, readParameters, type AdapterParameters } from './parameters.ts';
import { readWeights } from './weights.ts';

export interface LoadOptions {
  /** Threads of the runtime; results are the same bits only for the same number. */
  readonly threads: number;
  readonly device?: RuntimeOptions['device'];
}

export interface LoraOptions {
  readonly rank: number;
  /** The adapter's product is scaled by alpha / rank. */
  readonly alpha: number;
  /** Of the architecture's modules, as PEFT calls them: q_proj, k_proj. */
  readonly targetModules: readonly string[];
  readonly seed: number;
}

/**
 * Opens a base model: its weights are read once, as float32, and shared by all that is made from it.
 * Throws MODEL_UNSUPPORTED, MODEL_INCOMPLETE, FORMAT_INVALID.
 */
export async function loadBase(config: HfConfig, weights: WeightSource, options: LoadOptions): Promise<BaseModel> {
  const spec = readSpec(config);
  const kinds = new Set(spec.kinds).size;
  const cache = new SessionCache({ device: options.device ?? 'cpu', threads: options.threads }, kinds);
  return new BaseModel(new Network(spec, await readWeights(spec, weights), cache));
}

/** A model without an adapter. */
export class BaseModel {
  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
  }

  get spec(): ModelSpec {
    return this.#network.spec;
  }

  /** An adapter on this model, beginning as nothing. Throws RECIPE_INVALID where a target is no module of the model. */
  withLora(options: LoraOptions): LoraModel {
    return new LoraModel(this.#network, options);
  }

  /** Negative log likelihood of each labelled token in nats, in the order of the batch's labels. */
  losses(batch: Batch): Promise<Float32Array> {
    return batchLosses(this.#network, batch, undefined);
  }

  /** Logits [tokens, vocab] of one document. */
  logits(ids: Int32Array): Promise<Float32Array> {
    return documentLogits(this.#network, ids, undefined);
  }

  /** Generates with a cache; several at a time may be open, but only one call may be under way. */
  generator(): Decoder {
    return new CachedDecoder(this.#network, undefined);
  }

  /** Frees the sessions; the adapters on it are of no use afterwards. */
  async release(): Promise<void> {
    this.#network.release();
    await this.#network.cache.release();
  }
}

/** A base model with a LoRA adapter (Hu et al. 2021) that can be trained. */
export class LoraModel implements Trainable {
  readonly options: LoraOptions;
  readonly #network: Network;
  readonly #parameters: AdapterParameters;
  readonly #adapter: AdapterLayers;

  constructor(network: Network, options: LoraOptions) {
    const { rank, alpha, targetModules } = options;
    const known = modulesOf(network.spec);
    const stray = targetModules.find((module) => !known.includes(module));
    if (stray !== undefined || targetModules.length === 0)
      throw new FettleError(
        'RECIPE_INVALID',
        stray === undefined ? 'No target modules are chosen.' : `The model has no module ${stray}.`,
        `Choose from ${known.join(', ')}.`,
      );
    this.options = options;
    this.#network = network;
    const shape: AdapterShape = { rank, scale: alpha / rank, targets: new Set(targetModules) };
    this.#parameters = adapterParameters(network.spec, shape);
    initialise(this.#parameters, options.seed);
    this.#adapter = { shape, layers: adapterTensors(this.#parameters) };
  }

  get spec(): ModelSpec {
    return this.#network.spec;
  }

  get parameters(): ParameterSet {
    return this.#parameters;
  }

  async accumulate(batch: Batch, weight: number): Promise<number> {
    let sum = 0;
    for (const micro of microBatches(batch)) {
      const losses = await this.#network.train(micro, this.#adapter, weight);
      for (const loss of losses) sum += loss;
    }
    return sum;
  }

  losses(batch: Batch): Promise<Float32Array> {
    return batchLosses(this.#network, batch, this.#adapter);
  }

  /** Logits [tokens, vocab] of one document. */
  logits(ids: Int32Array): Promise<Float32Array> {
    return documentLogits(this.#network, ids, this.#adapter);
  }

  /** Generates with a cache; several at a time may be open, but only one call may be under way. */
  generator(): Decoder {
    return new CachedDecoder(this.#network, this.#adapter);
  }

  /** Fills the parameters from an adapter's file. Throws MODEL_INCOMPLETE; nothing is changed then. */
  async load(source: WeightSource): Promise<void> {
    await readParameters(this.#parameters, source);
  }
}

async function batchLosses(network: Network, batch: Batch, adapter: AdapterLayers | undefined): Promise<Float32Array> {
  const out = new Float32Array(batch.labels.reduce((n, label) => n + (label >= 0 ? 1 : 0), 0));
  for (const micro of microBatches(batch)) {
    const losses = await network.losses(micro, await network.forward(micro, adapter));
    losses.forEach((loss, i) => (out[micro.ranks[i]!] = loss));
  }
  return out;
}

async function documentLogits(
  network: Network,
  ids: Int32Array,
  adapter: AdapterLayers | undefined,
): Promise<Float32Array> {
  const length = ids.length;
  const positions = Int32Array.from(ids.keys());
  const documents = new Int32Array(length).fill(1);
  const batch: Batch = {
    rows: 1,
    length,
    ids,
    positions,
    documents,
    labels: new Int32Array(length),
    tokens: length,
    labelled: length,
  };
  const [micro]: MicroBatch[] = microBatches(batch);
  if (!micro) return new Float32Array(0);
  return network.logits(await network.forward(micro, adapter), micro.places);
}
