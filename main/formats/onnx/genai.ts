/** @file genai_config.json, by which onnxruntime-genai finds a model's graph, its cache and its ends. */

export interface GenaiFacts {
  /** The graph, below the folder of the config. */
  readonly file: string;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly hidden: number;
  readonly vocab: number;
  readonly maxPositions: number;
  readonly bosId: number | null;
  /** Ids that end an answer; the first fills up shorter rows. */
  readonly stopIds: readonly number[];
}

export function genaiConfig(facts: GenaiFacts): Record<string, unknown> {
  return {
    model: {
      // Any decoder with a cache: what it computes stands in the graph.
      type: 'decoder',
      ...(facts.bosId === null ? {} : { bos_token_id: facts.bosId }),
      eos_token_id: facts.stopIds,
      pad_token_id: facts.stopIds[0] ?? 0,
      context_length: facts.maxPositions,
      vocab_size: facts.vocab,
      decoder: {
        session_options: { log_id: 'onnxruntime-genai', provider_options: [] },
        filename: facts.file,
        head_size: facts.headDim,
        hidden_size: facts.hidden,
        num_attention_heads: facts.heads,
        num_hidden_layers: facts.layers,
        num_key_value_heads: facts.kvHeads,
        inputs: {
          input_ids: 'input_ids',
          attention_mask: 'attention_mask',
          position_ids: 'position_ids',
          past_key_names: 'past_key_values.%d.key',
          past_value_names: 'past_key_values.%d.value',
        },
        outputs: {
          logits: 'logits',
          present_key_names: 'present.%d.key',
          present_value_names: 'present.%d.value',
        },
      },
    },
    search: {
      do_sample: false,
      max_length: facts.maxPositions,
      min_length: 0,
      num_beams: 1,
      num_return_sequences: 1,
      // The graph gives all keys and values anew, longer by what was read.
      past_present_share_buffer: false,
      repetition_penalty: 1,
      temperature: 1,
      top_k: 50,
      top_p: 1,
    },
  };
}
