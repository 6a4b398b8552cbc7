/** @file What an architecture tells the engine: sizes, weights by their Hugging Face names, and the forward pass of a block. */
import type { HfConfig } from '../../formats/model.ts';
import type { BlockBuilder } from '../layers/block.ts';
import type { Value } from '../graph/value.ts';

/** Linear layers that read the same input; their weights lie one after the other in one matrix. */
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

/** A weight of a block that is not a linear layer's: norms. */
export interface Vector {
  readonly name: string;
  /** Below the layer, for example `input_layernorm.weight`. */
  readonly path: string;
  readonly size: number;
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
  readonly epsilon: number;
  /** Angle of rotary pair i (of headDim / 2) at position p is p times frequencies[i]. */
  readonly frequencies: Float64Array;
  readonly projections: readonly Projection[];
  readonly vectors: readonly Vector[];
  /** Prefix of a layer's weights, for example `model.layers.3.`. */
  layer(index: number): string;
  readonly names: {
    readonly embedding: string;
    readonly finalNorm: string;
    /** The embedding's name where the head is tied to it. */
    readonly head: string;
  };
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
