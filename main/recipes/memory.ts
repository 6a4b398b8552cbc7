/** @file How much memory a training process takes: arithmetic over the model's sizes, with the share of the runtime as measured. */
import type { Model } from '../contract/entities.ts';
import type { Recipe } from '../contract/recipe.ts';

export type ModelSize = Pick<Model, 'parameters' | 'layers' | 'hiddenSize' | 'vocabSize' | 'modules'>;
export type MemoryKeys = Pick<Recipe, 'rank' | 'targetModules' | 'batchSize' | 'maxLength'> &
  Partial<Pick<Recipe, 'method' | 'modulesToSave' | 'activationCheckpointing' | 'precision'>>;

const FLOAT = 4;
/** A weight of 4 bits with its share of a block's scale and zero points. */
const INT4_BYTES = 0.68;
/** Node, the runtime's library and its code, before any model. */
const PROCESS_BYTES = 260e6;
/** The runtime keeps arenas of its own beside the buffers that are named, for training, measuring and answering. SmolLM2 at T=512 peaked at 2.26 GB (batch 1) and 2.43 GB (batch 4), where this gives 2.40. */
const RUNTIME_SHARE = 1.5;
/** Rows of a batch run one micro-batch of about this many tokens at a time. */
const MICRO_BATCH_TOKENS = 512;
/** The head runs over so many labelled positions at a time: logits, their softmax and the gradient. */
const HEAD_ROWS = 256;
const HEAD_COPIES = 3;

const DEFAULTS: Omit<MemoryKeys, 'targetModules'> = { rank: 16, batchSize: 4, maxLength: 512 };

/** Widths of all linears of a block together, over its hidden size: (outputs + ...) such that widths * hidden = its parameters. */
function blockWidth({ parameters, layers, hiddenSize, vocabSize }: ModelSize): number {
  return Math.max(hiddenSize * 4, (parameters - vocabSize * hiddenSize) / Math.max(1, layers) / hiddenSize);
}

/** Trained numbers, estimated: all of the model's, or an adapter's, where each linear adds rank * (inputs + outputs). */
export function trainedParameters(
  model: ModelSize,
  { method, rank, targetModules, modulesToSave = [] }: MemoryKeys,
): number {
  if (method === 'full') return model.parameters;
  const saved = modulesToSave.length * model.vocabSize * model.hiddenSize;
  const all = model.modules.length;
  const share = targetModules.length / all;
  const width = blockWidth(model) + all * model.hiddenSize;
  return Math.round(rank * model.layers * share * width) + saved;
}

/**
 * Bytes of the frozen weights: in int8 the linears and the head have one copy for each direction, and the embedding stays
 * float32; in int4 embedding and head are 8 bits.
 */
function baseBytes({ parameters, vocabSize, hiddenSize }: ModelSize, precision: Recipe['precision'] = 'fp32'): number {
  const embedding = vocabSize * hiddenSize;
  if (precision === 'int8') return embedding * FLOAT + parameters * 2;
  if (precision === 'int4') return embedding * 2 + (parameters - embedding) * INT4_BYTES;
  return parameters * FLOAT;
}

/** Bytes that the training process will hold resident, estimated. */
export function trainingMemory(
  model: ModelSize,
  recipe: MemoryKeys = { ...DEFAULTS, targetModules: model.modules },
): number {
  // Where all weights are trained they are the values themselves.
  const weights = recipe.method === 'full' ? 0 : baseBytes(model, recipe.precision);
  // Values, gradients and the two moments of AdamW.
  const trained = trainedParameters(model, recipe) * FLOAT * 4;
  const tokens = Math.max(recipe.maxLength, Math.min(MICRO_BATCH_TOKENS, recipe.batchSize * recipe.maxLength));
  // A block saves the inputs and outputs of its linears; attention saves its probabilities, half of them masked away.
  const heads = Math.max(1, Math.round(model.hiddenSize / 64));
  const block = blockWidth(model) + 4 * model.hiddenSize + (heads * recipe.maxLength) / 2;
  const saved = recipe.activationCheckpointing
    ? tokens * (block + model.layers * model.hiddenSize)
    : tokens * model.layers * block;
  const head = Math.min(tokens, HEAD_ROWS) * model.vocabSize * HEAD_COPIES;
  const training = RUNTIME_SHARE * (weights + trained + (saved + head) * FLOAT);
  // What int8 rounds by is measured on the model in float32, before there is anything to train.
  const measuring = recipe.precision === 'int8' ? model.parameters * FLOAT : 0;
  return Math.round(PROCESS_BYTES + Math.max(training, measuring));
}
