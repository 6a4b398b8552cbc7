/** @file What the parts of the engine hand each other. */

/** Tokens with a mark on those that carry loss. `loss[i]` says whether predicting `ids[i]` from what precedes it is trained. */
export interface Example {
  readonly ids: Int32Array;
  readonly loss: Uint8Array;
  /** Answers that carry no loss, because they could not be told from the rest; none where it is left out. */
  readonly untold?: number;
}

/** Rows that are trained on or measured together; the engine cuts them into micro-batches. All arrays are [rows * length], row-major. */
export interface Batch {
  readonly rows: number;
  readonly length: number;
  readonly ids: Int32Array;
  /** Position for the rotary tables; restarts with each document. */
  readonly positions: Int32Array;
  /** Which document of its row a token belongs to, from 1; 0 is padding. Tokens attend only within their document. */
  readonly documents: Int32Array;
  /** The token to be predicted at this position, -1 where none carries loss. */
  readonly labels: Int32Array;
  /** Tokens that are not padding. */
  readonly tokens: number;
  /** Labels that are not -1. */
  readonly labelled: number;
}

/** Trainable parameters as one flat buffer with named views; gradients and optimiser state share the layout. */
export interface ParameterSet {
  /** In the order of the flat buffer. Names as PEFT writes them, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly entries: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly offset: number;
    readonly size: number;
    /** Files keep it the other way round, [columns, rows]. */
    readonly transposed?: boolean;
  }[];
  readonly values: Float32Array;
  readonly gradients: Float32Array;
  /** They are the model's own weights, by their Hugging Face names, in place of an adapter's. */
  readonly whole?: boolean;
}

export interface AdamWOptions {
  /** Decay of the first moment, in [0, 1). */
  readonly beta1: number;
  /** Decay of the second moment, in [0, 1). */
  readonly beta2: number;
  /** Added to the root of the second moment, outside the root. */
  readonly epsilon: number;
  /** Decoupled: each step scales the weights by 1 - learningRate * weightDecay. */
  readonly weightDecay: number;
  /** 'matrices' leaves vectors (norms, biases, magnitudes) as they are. */
  readonly weightDecayOn?: 'all' | 'matrices';
  /** Factor of the rate of an adapter's B matrices (LoRA+, Hayou et al. 2024). */
  readonly loraPlusRatio?: number;
}

/** AdamW where the parameters are trained; elsewhere than on the host, `read` and `write` keep the host's copy true. */
export interface Optimizer {
  /** Updates done so far. */
  readonly steps: number;
  /** First and second moment, float32, laid out as `ParameterSet.values`: as they were last read. */
  readonly first: Float32Array;
  readonly second: Float32Array;
  /** Gradients begin anew. */
  zero(): void | Promise<void>;
  /**
   * Scales gradients down to a global L2 norm; 0 leaves them as they are.
   * @returns the norm before; not finite where a gradient is not.
   */
  clip(maxNorm: number): number | Promise<number>;
  /** One update of the values; after a clipping no gradients are added before it. */
  step(learningRate: number): void | Promise<void>;
  /** Takes over the state of a checkpoint. Throws CHECKPOINT_INVALID where the sizes differ. */
  restore(first: Float32Array, second: Float32Array, steps: number): void;
  /** Brings values and moments to the host: before they are saved, and before the host answers with them. */
  read(): void | Promise<void>;
  /** What stands on the host counts from here on. */
  write(): void | Promise<void>;
}

/** A model that can be trained and asked. */
export interface Trainable {
  readonly parameters: ParameterSet;
  /** Of a model that is trained elsewhere than in `parameters`. */
  optimizer?(options: AdamWOptions): Optimizer;
  /**
   * Adds to `parameters.gradients`, or where the optimiser has them, the gradient of `weight` times the summed loss of the batch.
   * @param draw names the batch among all of a run: what is random in it (dropout) hangs on this and the seed alone.
   * @returns the summed negative log likelihood of the labelled tokens, in nats.
   */
  accumulate(batch: Batch, weight: number, draw?: number): Promise<number>;
  /** Negative log likelihood of each labelled token, in the order of the batch's labels. No gradients. */
  losses(batch: Batch): Promise<Float32Array>;
}

/** Generates from one document, token by token, keeping keys and values of what came before. */
export interface Decoder {
  /** The longest text it can hold, prompt included. */
  readonly maxTokens: number;
  /** Begins anew with `ids` (at least one). @returns logits [vocab] of the token that follows; the caller may change them. */
  prefill(ids: readonly number[]): Promise<Float32Array>;
  /** Goes on with one token. @returns logits [vocab] of the token that follows; the caller may change them. */
  step(id: number): Promise<Float32Array>;
  release(): Promise<void>;
}
