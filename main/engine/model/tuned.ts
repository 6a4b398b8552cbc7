/** @file A base model with something on it that can be trained: an adapter (LoRA, Hu et al. 2021), or all its weights. */
import type { WeightSource } from '../../formats/model.ts';
import type { LoraSettings } from '../../formats/peft.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import type { TrainedShape } from '../layers/block.ts';
import type { Tensors } from '../segments/session.ts';
import { AdamW } from '../train/adamw.ts';
import { DeviceAdamW } from '../train/device-adamw.ts';
import type { AdamWOptions, Batch, Decoder, Optimizer, ParameterSet, Trainable } from '../types.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { CachedDecoder } from './decoder.ts';
import { DeviceParameters } from './device-parameters.ts';
import type { LaneModel } from './lane.ts';
import type { Lanes } from './lanes.ts';
import type { Network } from './network.ts';
import { initialise, readParameters, trainedParameters, trainedTensors } from './parameters.ts';
import type { PlacedNetwork } from './place.ts';
import { weightsByName, type BaseWeights } from './weights.ts';

export interface TrainOptions {
  /** Of an adapter's first values, and of what dropout drops. */
  readonly seed: number;
  /** Computes blocks again on the way back instead of keeping what they hold. */
  readonly activationCheckpointing?: boolean;
}

/** What a model to be trained is made of. */
interface TunedParts {
  readonly network: Network;
  readonly lanes: Lanes;
  /** Where it is not trained on the host. */
  readonly placed?: PlacedNetwork | undefined;
  readonly shape: TrainedShape;
  /** Inputs of the weights before and after the blocks that are trained in whole beside an adapter. */
  readonly saved: ReadonlySet<string>;
  /** Null where all weights are trained. */
  readonly lora: LoraSettings | null;
  readonly options: TrainOptions;
}

export class TunedModel implements Trainable {
  /** Of an adapter; null where all weights are trained. */
  readonly lora: LoraSettings | null;
  readonly #network: Network;
  readonly #lanes: Lanes;
  readonly #model: LaneModel;
  readonly #options: TrainOptions;
  /** What is trained, where it is not trained on the host. */
  readonly #there: DeviceParameters | undefined;
  /** What is trained and measured: there, or the same as on the host. */
  readonly #measured: LaneModel;

  constructor({ network, lanes, placed, shape, saved, lora, options }: TunedParts) {
    this.lora = lora;
    this.#options = options;
    this.#network = network;
    this.#lanes = lanes;
    const parameters = trainedParameters(network.spec, shape, saved);
    initialise(parameters, () => weightsByName(network.spec, network.weights), options.seed);
    this.#model = { shape, saved, parameters, trained: { shape, ...trainedTensors(parameters) }, others: [] };
    this.#there = placed && new DeviceParameters(parameters, placed.memory);
    const there = this.#there;
    this.#measured = there
      ? { ...this.#model, trained: { shape, layers: there.layers, outer: there.outer } }
      : this.#model;
  }

  get spec(): ModelSpec {
    return this.#network.spec;
  }

  /** Where all weights are trained: they, as a base's. */
  get weights(): BaseWeights {
    const { values } = this.#model.trained.outer;
    const { embedding, final } = this.#network.weights;
    const own = (names: Tensors): Tensors =>
      Object.fromEntries(Object.keys(names).map((name) => [name, values[name]!]));
    return {
      embedding: own(embedding),
      final: own(final),
      head: { head: values['head']! },
      layers: this.#model.trained.layers.map((layer) => layer.values),
    };
  }

  get parameters(): ParameterSet {
    return this.#model.parameters;
  }

  optimizer(options: AdamWOptions): Optimizer {
    return this.#there ? new DeviceAdamW(this.#there, options) : new AdamW(this.parameters, options);
  }

  async accumulate(batch: Batch, weight: number, draw = 0): Promise<number> {
    await this.#there?.place();
    const { seed, activationCheckpointing: recompute = false } = this.#options;
    return this.#lanes.train(batch, this.#measured, (number) => ({
      weight,
      recompute,
      seed: dropoutSeed(seed, draw, number),
    }));
  }

  async losses(batch: Batch): Promise<Float32Array> {
    await this.#there?.place();
    return this.#lanes.losses(batch, this.#measured);
  }

  /** Logits [tokens, vocab] of one document. */
  logits(ids: Int32Array): Promise<Float32Array> {
    return this.#network.documentLogits(ids, this.#model.trained);
  }

  /** Generates with a cache; several at a time may be open, but only one call may be under way. */
  generator(): Decoder {
    return new CachedDecoder(this.#network, this.#model.trained);
  }

  /** Generates up to `rows` documents at a time, a token of each in one pass; nothing else may be under way. */
  batchGenerator(rows: number): BatchDecoder {
    return new BatchDecoder(this.#network, this.#model.trained, rows);
  }

  /** Fills the parameters from an adapter's file. Throws MODEL_INCOMPLETE; nothing is changed then. */
  async load(source: WeightSource): Promise<void> {
    // PEFT writes a tied head beside the embedding that it is.
    await readParameters(this.#model.parameters, source, isTied(this.spec) ? ['lm_head.weight'] : []);
    this.#there?.replace();
  }
}

/** Apart for every micro-batch of a run; layers count on from it. */
const dropoutSeed = (seed: number, draw: number, micro: number): number =>
  Math.imul(seed ^ Math.imul(draw + 1, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(micro + 1, 0xc2b2ae35);
