/** @file How much memory a training process takes: what the engine counts that it holds, and the process around it as measured. */
import type { Model } from '../contract/entities.ts';
import { isQuantised, type Precision, type Recipe } from '../contract/recipe.ts';
import type { ModelSpec } from '../engine/architectures/spec.ts';
import {
  trainedLayout,
  trainingFootprint,
  type Footprint,
  type MemoryKeys,
  type Where,
} from '../engine/model/footprint.ts';
import type { DataSize } from './data.ts';

export type ModelSize = Pick<Model, 'parameters' | 'modules'> & {
  /** What the engine makes of the model's config. */
  readonly spec: ModelSpec;
};

/** The model as the default recipe trains it. */
const DEFAULTS = {
  method: 'lora',
  rank: 16,
  useDora: false,
  dropout: 0,
  modulesToSave: [],
  batchSize: 4,
  maxLength: 512,
  packing: true,
  activationCheckpointing: false,
} as const;

export type MemorySettings = Partial<Omit<MemoryKeys, 'precision'> & { readonly precision: Precision | 'auto' }>;

const keysOf = ({ modules }: ModelSize, settings: MemorySettings): MemoryKeys => {
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const { precision = 'fp32', ...rest } = { targetModules: modules, ...DEFAULTS, ...given } as typeof DEFAULTS & {
    readonly targetModules: string[];
    readonly precision?: Recipe['precision'];
  };
  return { ...rest, modulesToSave: [...rest.modulesToSave], precision: precision === 'auto' ? 'fp32' : precision };
};

/** What is trained, laid out. */
export const trainedOf = (model: ModelSize, settings: MemorySettings): ReturnType<typeof trainedLayout> =>
  trainedLayout(model.spec, keysOf(model, settings));

/** Footprints by what they hang on: a plan asks for many, and each builds the programs of a step. */
const known = new WeakMap<ModelSpec, Map<string, Footprint>>();

function footprint(model: ModelSize, keys: MemoryKeys, where: Where): Footprint {
  let own = known.get(model.spec);
  if (!own) known.set(model.spec, (own = new Map()));
  const { method, rank, targetModules, useDora, dropout, modulesToSave, batchSize } = keys;
  const { maxLength, packing, activationCheckpointing, precision } = keys;
  const key = JSON.stringify([
    ...[method, rank, [...targetModules].sort(), useDora, dropout, modulesToSave, batchSize],
    ...[maxLength, packing, activationCheckpointing, precision, where],
  ]);
  let found = own.get(key);
  if (!found) own.set(key, (found = trainingFootprint(model.spec, keys, where)));
  return found;
}

/** What reads or trains the base's own weights, which a base in fewer bits has not. */
export const needsExact = ({ method, useDora, modulesToSave = [] }: Partial<Recipe>): boolean =>
  method === 'full' || useDora === true || modulesToSave.length > 0;

// Fitted to what 28 runs took at their peak, three times each (`npm run bench:memory`, docs/benchmarks.md).
/** Node, the runtime's library, its sessions and threads, and small pieces in the heap, beside any model. */
const PROCESS_BYTES = 161e6;
/** A lane beside the first: its thread, and its sessions. */
const LANE_BYTES = 36e6;
/** What the heap grows to for the bytes between ops, of the largest pass over a block and the largest of all, which come and go in pieces. */
const SCRATCH = 1.2;
/** Beside a base in 8 or 4 bits, whose head is in 8 bits: of the bytes of its logits. */
const ROUNDED_HEAD = 1.5;
/** Of the largest matrix that is trained: what comes and goes with it, at one time more than at another. */
const LARGEST_TRAINED = 0.8;
/** Values, gradients and the two moments of AdamW, in bytes. */
const FLOATS_TRAINED = 4 * 4;
/** A tokenizer's tables, for each token of its vocabulary. */
const TOKEN_BYTES = 1000;
/** An example in memory: ids of four bytes, a mark of one, and the objects around them. */
const EXAMPLE_BYTES = { token: 5, row: 600 } as const;

/** Bytes that the training process will hold resident at its peak. */
export function trainingMemory(
  model: ModelSize,
  settings: MemorySettings,
  {
    threads,
    data,
  }: {
    readonly threads: number;
    readonly data?: Pick<DataSize, 'trainTokens' | 'heldOutTokens' | 'trainRows' | 'heldOutRows'>;
  },
): number {
  const keys = keysOf(model, settings);
  const { base, trained, lanes, lane } = footprint(model, keys, { device: 'cpu', threads });
  const block = Math.max(...lane.blockScratch);
  const between =
    SCRATCH * (block + Math.max(block, ...lane.headScratch)) +
    (isQuantised(keys.precision) ? ROUNDED_HEAD * lane.logits : 0);
  const examples = data
    ? (data.trainTokens + data.heldOutTokens) * EXAMPLE_BYTES.token +
      (data.trainRows + data.heldOutRows) * EXAMPLE_BYTES.row
    : 0;
  const around = PROCESS_BYTES + model.spec.vocab * TOKEN_BYTES + examples;
  const training =
    base.weights +
    FLOATS_TRAINED * trained.numbers +
    LARGEST_TRAINED * trained.largest +
    (lanes - 1) * (LANE_BYTES + 4 * trained.numbers) +
    lanes * (lane.activations + lane.fed + between);
  // All weights are read before they become what is trained; int8 is measured on them as they are; what is rounded is
  // read block by block, and last the largest, the head.
  const loading =
    keys.method === 'full'
      ? 2 * base.exact
      : keys.precision === 'int8'
        ? base.exact + base.largest
        : base.weights + (keys.precision === 'int4' ? 2 : 1) * base.largest;
  return Math.round(around + Math.max(training, loading));
}

// Fitted to what an H100 held, in six runs (docs/decisions/webgpu.md).
/** The driver's own, and the runtime's pipelines. */
const CONTEXT_BYTES = 200e6;
/**
 * Values are held twice, in stacks and each by itself, gradients of each layer and gathered, and two moments; and at the
 * end of a step, when activations still lie in their slots, the next values and moments beside them: nothing is written in
 * place there. The runtime keeps what was freed by its size, and nothing else is as large as a stack of all layers.
 */
const FLOATS_ON_DEVICE = 9 * 4;
/** Buffers are of a few sizes, each for all that is somewhat smaller. */
const ROUNDED = 1.17;

/** Bytes that training takes of a graphics processor's memory. @param tokens of a micro-batch. */
export function deviceMemory(model: ModelSize, settings: MemorySettings, tokens: number): number {
  const where = { device: 'webgpu', threads: 1, tokens } as const;
  const { base, trained, lane } = footprint(model, keysOf(model, settings), where);
  const between = [...lane.blockScratch, ...lane.headScratch, lane.gradients].reduce((a, b) => a + b);
  const held = base.weights + FLOATS_ON_DEVICE * trained.numbers + ROUNDED * (lane.activations + lane.fed + between);
  return Math.round(CONTEXT_BYTES + held);
}
