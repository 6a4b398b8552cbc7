/** @file What an architecture tells the engine: sizes, weights by their Hugging Face names, kinds of layers, and the forward pass of a block. */
import type { HfConfig } from '../../formats/model.ts';
import type { BlockBuilder } from '../layers/block.ts';
import type { Value } from '../graph/value.ts';
import type { Rotary } from '../../formats/rotary.ts';

/** Linear layers that read the same input: products of their own, whose adapters' A matrices lie one after the other in one. */
export interface Projection {
  /** As the block's forward pass calls it, for example `qkv`. */
  readonly name: string;
  /** Length of the input. */
  readonly from: number;
  readonly parts: readonly {
    /** As PEFT's target_modules calls it, for example `q_proj`. */
    readonly module: string;
    /** Below the layer, for example `self_attn.q_proj`. */
    readonly path: string;
    /** Length of the output. */
    readonly to: number;
  }[];
  readonly bias: boolean;
}

/** A weight that is not a linear layer's: norms and their biases. */
export interface Vector {
  readonly name: string;
  /** Below the layer, for example `input_layernorm.weight`; the whole name for those of the final norm. */
  readonly path: string;
  readonly size: number;
}

/** Where a forward pass finds its vectors. */
export interface Vectors {
  /** [size] */
  vector(name: string): Value;
}

/** How a layer attends. Layers of one kind share their compiled programs, tables and masks. */
export interface LayerKind {
  /** Undefined where positions are learned, with the embedding. */
  readonly rotary: Rotary | undefined;
  /** A token sees itself and window - 1 tokens before it; undefined: all before it. */
  readonly window: number | undefined;
}

/** A model of one architecture with its sizes filled in. */
export interface ModelSpec {
  /** `llama` */
  readonly architecture: string;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  /** Positions the model was made for. */
  readonly maxPositions: number;
  /** One for each layer; the same object for layers of one kind. */
  readonly kinds: readonly LayerKind[];
  readonly attention: {
    /** Factor of the scores, mostly 1 / sqrt(headDim). */
    readonly scale: number;
    /** Scores s become cap tanh(s / cap). */
    readonly softCap: number | undefined;
  };
  /** Logits z become cap tanh(z / cap). */
  readonly logitSoftCap: number | undefined;
  readonly projections: readonly Projection[];
  readonly vectors: readonly Vector[];
  /** Linear layers are kept as [in, out], as GPT-2's Conv1D has them; PEFT calls that fan_in_fan_out. */
  readonly transposed: boolean;
  /** Prefix of a layer's weights, for example `model.layers.3.`. */
  layer(index: number): string;
  readonly names: {
    readonly embedding: string;
    /** Learned positions [maxPositions, hidden], where there are any. */
    readonly positions: string | undefined;
    /** The embedding's name where the head is tied to it. */
    readonly head: string;
  };
  /** Factor of the embedding. */
  readonly embeddingScale: number;
  readonly finalVectors: readonly Vector[];
  /** The norm before the head, of x [rows, hidden]. */
  finalNorm(b: Vectors, x: Value): Value;
  /** One block on x [rows, hidden], forward only. */
  block(b: BlockBuilder, x: Value): Value;
}

export interface Architecture {
  /** Values of config.model_type. */
  readonly modelTypes: readonly string[];
  /** Names in config.architectures. */
  readonly classes: readonly string[];
  /** Throws MODEL_UNSUPPORTED or FORMAT_INVALID. */
  read(config: HfConfig): ModelSpec;
}

/** Head and embedding are one weight. */
export const isTied = ({ names }: ModelSpec): boolean => names.head === names.embedding;

/** Modules that an adapter may be on, as PEFT calls them. */
export const modulesOf = (spec: ModelSpec): string[] => [
  ...new Set(spec.projections.flatMap((p) => p.parts.map((part) => part.module))),
];
