/** @file The recipe of a run: flat JSON, versioned, names as in TRL and PEFT where they exist. */
import { z } from 'zod';

export const STRATEGIES = ['instruct', 'non-instruct'] as const;
export const Strategy = z.enum(STRATEGIES);
export type Strategy = z.infer<typeof Strategy>;

/** What a person may choose: one of the two, or both in stages, non-instruct first. */
export const Way = z.enum([...STRATEGIES, 'staged']);
export type Way = z.infer<typeof Way>;

/** The linear layers of a block in most families, by the names PEFT uses; those of a model stand in Model.modules. */
export const TARGET_MODULES = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

/**
 * The numbers that the frozen base is kept and multiplied in; what is trained is always float32. `auto` is settled before
 * a run begins: a run's recipe names what it ran with.
 */
export const PRECISIONS = ['fp32', 'fp16', 'int8', 'int4'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** Those whose numbers are whole steps of a scale, chosen after a look at rows of the data. */
export type Quantised = 'int8' | 'int4';
export const isQuantised = (precision: Recipe['precision']): precision is Quantised =>
  precision === 'int8' || precision === 'int4';

/** What a run trains on: the processor, or a graphics processor by WebGPU. */
export const DEVICES = ['cpu', 'webgpu'] as const;

/** Unknown keys are errors: a misspelt setting must not be ignored silently. */
export const Recipe = z.strictObject({
  version: z.literal(1).default(1),
  strategy: Strategy,
  /** An adapter beside the weights (LoRA), or all weights themselves. */
  method: z.enum(['lora', 'full']).default('lora'),
  /** Rank r of the adapter's matrices. */
  rank: z.int().min(1).max(512).default(16),
  /** The adapter's product is scaled by alpha / rank, or with useRslora by alpha / sqrt(rank). */
  alpha: z.number().positive().max(4096).default(32),
  /** Of the model's modules. */
  targetModules: z
    .array(z.string().min(1))
    .min(1)
    .default([...TARGET_MODULES]),
  /** Rank-stabilised (Kalajdzievski 2023): ranks above 64 or so learn as fast as small ones. */
  useRslora: z.boolean().default(false),
  /** Weight-decomposed (DoRA, Liu et al. 2024): the lengths of the weights' rows are learned apart from their directions. */
  useDora: z.boolean().default(false),
  /** Share of its inputs that an adapter does not see in a step. */
  dropout: z.number().min(0).max(0.9).default(0),
  /** Weights outside the blocks that are trained in whole beside the adapter, by the model's names: embed_tokens, lm_head, wte. */
  modulesToSave: z.array(z.string().min(1)).default([]),
  /** The B matrices' rate over the A matrices' (LoRA+, Hayou et al. 2024); 1 is plain LoRA. */
  loraPlusRatio: z.number().min(1).max(64).default(1),
  /** Peak learning rate. */
  learningRate: z.number().positive().max(1).default(1e-3),
  schedule: z.enum(['cosine', 'linear', 'constant']).default('cosine'),
  /** Share of the steps during which the rate climbs from zero to its peak. */
  warmupRatio: z.number().min(0).max(1).default(0.05),
  /** Decoupled weight decay (AdamW). */
  weightDecay: z.number().min(0).max(1).default(0),
  /** What decays: all that is trained, or matrices only, so that norms, biases and magnitudes keep their size. */
  weightDecayOn: z.enum(['all', 'matrices']).default('matrices'),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  epsilon: z.number().positive().max(1).default(1e-8),
  /** Gradients are scaled down to this global norm; 0 turns clipping off. */
  maxGradNorm: z.number().min(0).default(1),
  /** Passes over the training data; may be a fraction. Ignored where maxSteps is given. */
  epochs: z.number().positive().max(1000).default(3),
  /** Optimiser steps; takes the place of epochs. */
  maxSteps: z.int().positive().optional(),
  /** Rows in a micro-batch. */
  batchSize: z.int().min(1).max(4096).default(4),
  /** Micro-batches whose gradients are added up for one optimiser step. */
  gradientAccumulation: z.int().min(1).max(4096).default(1),
  /** Tokens; longer examples are cut (instruct) or split (non-instruct). */
  maxLength: z.int().min(8).max(131072).default(512),
  /** Several examples in one row, with block-diagonal masks and restarting positions. */
  packing: z.boolean().default(true),
  /** Blocks are computed again on the way back, instead of what they hold being kept: a third more time for much less memory. */
  activationCheckpointing: z.boolean().default(false),
  shuffle: z.boolean().default(true),
  /** Which tokens carry loss: the assistant's, or all. */
  lossOn: z.enum(['response', 'all']).default('response'),
  seed: z.int().min(0).max(0xffffffff).default(42),
  precision: z.enum(['auto', ...PRECISIONS]).default('fp32'),
  /** `auto` takes the fastest that works and does what the recipe asks; the run tells which one that was. */
  device: z.enum(['auto', ...DEVICES]).default('auto'),
  /** Held-out evaluation every so many steps; 0 only at the start and the end. */
  evalEvery: z.int().min(0).default(20),
  /** Checkpoint every so many steps; 0 only at the end. */
  saveEvery: z.int().min(0).default(20),
  /** Evaluations without a better held-out loss after which training stops; 0 never. */
  earlyStopping: z.int().min(0).default(0),
  /** Checkpoints kept beside the best and the last. */
  keepCheckpoints: z.int().min(0).max(1000).default(1),
  /** Share of the training tokens that is general data of Fettle's own, so that old skills are practised too. */
  rehearsal: z.number().min(0).max(0.9).default(0),
  /** Folder of a PEFT adapter to start from. */
  initAdapter: z.string().optional(),
});
export type Recipe = z.infer<typeof Recipe>;
