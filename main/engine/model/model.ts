/** @file A base model in memory, and what can be trained on it. */
import { FettleError } from '../../contract/errors.ts';
import { isQuantised, type Precision, type Quantised } from '../../contract/recipe.ts';
import type { HfConfig, WeightSource } from '../../formats/model.ts';
import { scaleOf, type LoraSettings } from '../../formats/peft.ts';
import { readSpec } from '../architectures/index.ts';
import { isTied, modulesOf, type ModelSpec } from '../architectures/spec.ts';
import type { Device } from '../graph/op.ts';
import type { AdapterShape } from '../layers/block.ts';
import type { Traffic } from '../segments/device-memory.ts';
import { SessionCache } from '../segments/session.ts';
import type { Batch, Decoder, Example } from '../types.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { calibrate } from '../quantise/calibration.ts';
import { freezer, type Rounding } from '../quantise/freeze.ts';
import { saturates } from '../quantise/kernels.ts';
import { observedRows } from '../quantise/observe.ts';
import { Prepared } from '../quantise/prepared.ts';
import { CachedDecoder } from './decoder.ts';
import { Lanes } from './lanes.ts';
import { Network } from './network.ts';
import { placeNetwork, type PlacedNetwork } from './place.ts';
import { TunedModel, type TrainOptions } from './tuned.ts';
import { discardWeights, readWeights, type BaseWeights } from './weights.ts';

export interface LoadOptions {
  /** Threads of the runtime; results are the same bits only for the same number. */
  readonly threads: number;
  /** Where adapters are trained and losses measured; the host keeps the weights besides, and answers with them. */
  readonly device?: Device;
  /** There, of a micro-batch: fewer take less of its memory. */
  readonly deviceTokens?: number | undefined;
  /** Of the frozen base; fp32 unless said. What is quantised wants `rounding`; what is not fp32 bears plain adapters alone. */
  readonly precision?: Precision;
  readonly rounding?: Rounding | undefined;
  /** Where weights in fewer bits are kept once they are made. */
  readonly prepared?: Prepared;
  /** Micro-batches that run at the same time, each with a share of the threads; as many as pay unless said. */
  readonly lanes?: number;
}

/** The modules are those of the architecture, by PEFT's names: q_proj, down_proj. */
export interface LoraOptions extends LoraSettings, TrainOptions {
  /** Share of its inputs that the adapter does not see in a step of training. */
  readonly dropout?: number;
}

/** What an adapter is in every block. */
export const adapterShape = ({
  useDora: dora = false,
  dropout = 0,
  ...lora
}: Omit<LoraOptions, keyof TrainOptions>): AdapterShape => ({
  kind: 'adapter',
  rank: lora.rank,
  scale: scaleOf(lora),
  targets: new Set(lora.targetModules),
  dora,
  dropout,
});

/**
 * Opens a base model: its weights are read once, in the precision asked for, and shared by all that is made from it.
 * Throws MODEL_UNSUPPORTED, MODEL_INCOMPLETE, FORMAT_INVALID; CHECKPOINT_INVALID where `rounding` is of another model.
 */
export async function loadBase(config: HfConfig, weights: WeightSource, options: LoadOptions): Promise<BaseModel> {
  const host = await openNetwork(config, weights, options);
  const placed = options.device === 'webgpu' ? await placeNetwork(host, options.deviceTokens) : undefined;
  return new BaseModel(host, config, options.lanes, placed);
}

async function openNetwork(config: HfConfig, weights: WeightSource, options: LoadOptions): Promise<Network> {
  const { threads, precision = 'fp32', rounding, prepared, lanes } = options;
  const spec = readSpec(config);
  const cache = new SessionCache({ device: 'cpu', threads, precision }, new Set(spec.kinds).size);
  const make = async (tell?: (done: string) => void): Promise<BaseWeights> => {
    const freeze = freezer(spec, precision, rounding, threads, tell);
    try {
      return await readWeights(spec, weights, freeze, lanes !== 1);
    } finally {
      await freeze.release();
    }
  };
  const held = {
    weights: await (prepared && rounding && isQuantised(precision)
      ? prepared.weights(precision, rounding, threads, make)
      : make()),
  };
  return new Network(spec, held, cache);
}

/**
 * What a base needs to be kept in fewer bits: some rows of `examples` to look at, and for int8 what was seen of them by the
 * model in float32, which is opened for it and goes again. Throws what `loadBase` does.
 */
export async function measureRounding(
  config: HfConfig,
  weights: WeightSource,
  { threads, precision, prepared = new Prepared(null) }: RoundingOptions,
  examples: readonly Example[],
): Promise<Rounding> {
  const largest = async (): Promise<number> => ((await saturates({ threads })) ? 63 : 127);
  const rows = observedRows(examples);
  if (precision === 'int4') return { rows, peaks: new Map(), largest: await largest() };
  return prepared.rounding(rows, threads, async () => {
    const network = await openNetwork(config, weights, { threads, lanes: 1 });
    try {
      return { rows, peaks: await calibrate(network, rows), largest: await largest() };
    } finally {
      await network.release();
      await network.cache.release();
      discardWeights(network.weights);
    }
  });
}

interface RoundingOptions {
  readonly threads: number;
  readonly precision: Quantised;
  /** Where what was measured is kept. */
  readonly prepared?: Prepared;
}

/** A model without an adapter. */
export class BaseModel {
  readonly #network: Network;
  readonly #lanes: Lanes;
  readonly #placed: PlacedNetwork | undefined;

  constructor(network: Network, config: HfConfig, lanes?: number, placed?: PlacedNetwork) {
    this.#network = network;
    this.#placed = placed;
    // A graphics processor is one, and its micro-batches wait for each other.
    this.#lanes = placed ? new Lanes(placed.network, config, 1) : new Lanes(network, config, lanes);
  }

  get spec(): ModelSpec {
    return this.#network.spec;
  }

  /** An adapter on this model, beginning as nothing. Throws RECIPE_INVALID where a target is no module of the model. */
  withLora(options: LoraOptions): TunedModel {
    const { targetModules, modulesToSave = [] } = options;
    const shape = adapterShape(options);
    checkModules(this.spec, targetModules, modulesToSave);
    if (shape.dora || modulesToSave.length > 0) this.#needExact();
    if (shape.dora || modulesToSave.length > 0 || shape.dropout > 0) this.#needHost();
    return new TunedModel({
      network: this.#network,
      lanes: this.#lanes,
      placed: this.#placed,
      shape,
      saved: savedInputs(this.spec, modulesToSave),
      lora: options,
      options,
    });
  }

  /** This model with all its weights to be trained; the base stays as it is. */
  withAllTrained(options: TrainOptions): TunedModel {
    this.#needExact();
    this.#needHost();
    return new TunedModel({
      network: this.#network,
      lanes: this.#lanes,
      shape: { kind: 'whole' },
      saved: new Set(),
      lora: null,
      options,
    });
  }

  /** The same, and the base is given up for it: it is no longer in memory besides, and this model gives what is trained. */
  becomeAllTrained(options: TrainOptions): TunedModel {
    const tuned = this.withAllTrained(options);
    const before = this.#network.weights;
    this.#network.weights = tuned.weights;
    discardWeights(before);
    return tuned;
  }

  /** Throws RECIPE_INVALID where the base is kept in fewer bits: what is trained would need its weights as they are. */
  #needExact(): void {
    const { precision } = this.#network.cache.options;
    if (precision !== 'fp32')
      throw new FettleError(
        'RECIPE_INVALID',
        `A base in ${precision} bears plain adapters only: full tuning, DoRA and modules_to_save need its weights in fp32.`,
        'Use fp32.',
      );
  }

  /** Throws RECIPE_INVALID where the weights lie on a graphics processor, which trains plain adapters alone. */
  #needHost(): void {
    if (this.#placed)
      throw new FettleError(
        'RECIPE_INVALID',
        'On a graphics processor plain adapters are trained: no full tuning, DoRA, dropout or modules_to_save.',
        'Use the device cpu.',
      );
  }

  /** Bytes that were carried to a graphics processor and back so far, and that are held there; undefined on the host. */
  get onDevice(): (Traffic & { readonly held: number }) | undefined {
    const memory = this.#placed?.memory;
    return memory && { ...memory.traffic, held: memory.bytes };
  }

  /** Micro-batches that run at the same time at most. */
  get lanes(): number {
    return this.#lanes.most;
  }

  /** Negative log likelihood of each labelled token in nats, in the order of the batch's labels. */
  losses(batch: Batch): Promise<Float32Array> {
    return this.#lanes.losses(batch, undefined);
  }

  /** Logits [tokens, vocab] of one document. */
  logits(ids: Int32Array): Promise<Float32Array> {
    return this.#network.documentLogits(ids, undefined);
  }

  /** Generates with a cache; several at a time may be open, but only one call may be under way. */
  generator(): Decoder {
    return new CachedDecoder(this.#network, undefined);
  }

  /** Generates up to `rows` documents at a time, a token of each in one pass; nothing else may be under way. */
  batchGenerator(rows: number): BatchDecoder {
    return new BatchDecoder(this.#network, undefined, rows);
  }

  /** Frees the sessions; the adapters on it are of no use afterwards. */
  async release(): Promise<void> {
    await this.#lanes.release();
    if (!this.#placed) return;
    await this.#network.release();
    await this.#network.cache.release();
  }
}

/** modules_to_save: weights before and after the blocks that can be trained in whole, by PEFT's names, with their input names. */
export function saveable(spec: ModelSpec): ReadonlyMap<string, string> {
  const module = (weight: string): string => weight.split('.').at(-2)!;
  const { embedding, head } = spec.names;
  return new Map([[module(embedding), 'embedding'], ...(isTied(spec) ? [] : [[module(head), 'head'] as const])]);
}

/** Their inputs: what a tied head and its embedding share is trained once, for both. */
export function savedInputs(spec: ModelSpec, modulesToSave: readonly string[]): Set<string> {
  const inputs = saveable(spec);
  const saved = new Set(modulesToSave.flatMap((name) => inputs.get(name) ?? []));
  if (isTied(spec) && saved.has('embedding')) saved.add('head');
  return saved;
}

/** Throws RECIPE_INVALID. */
function checkModules(spec: ModelSpec, targets: readonly string[], saved: readonly string[]): void {
  const stray = (list: readonly string[], known: readonly string[]): string | undefined =>
    list.find((module) => !known.includes(module));
  const modules = modulesOf(spec);
  const target = stray(targets, modules);
  if (target !== undefined || targets.length === 0)
    throw new FettleError(
      'RECIPE_INVALID',
      target === undefined ? 'No target modules are chosen.' : `The model has no module ${target}.`,
      `Choose from ${modules.join(', ')}.`,
    );
  const whole = [...saveable(spec).keys()];
  const other = stray(saved, whole);
  if (other !== undefined)
    throw new FettleError(
      'RECIPE_INVALID',
      `${other} cannot be trained in whole beside an adapter of this model.`,
      `Choose from ${whole.join(', ')}.`,
    );
}
