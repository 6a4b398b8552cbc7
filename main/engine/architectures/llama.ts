/** @file Llama (Touvron et al. 2023), with grouped queries: SmolLM2, Llama 2 and 3 without rope scaling. Forward only. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../../formats/model.ts';
import { mul, rmsNorm, silu } from '../graph/ops/index.ts';
import { count, flag, positive, section, unsupported } from './config.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' LlamaConfig. */
function read(config: HfConfig): ModelSpec {
  const hidden = count(config, 'hidden_size');
  const ffn = count(config, 'intermediate_size');
  const heads = count(config, 'num_attention_heads');
  const kvHeads = count(config, 'num_key_value_heads', heads);
  const headDim = count(config, 'head_dim', hidden / heads);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0)
    throw new FettleError(
      'FORMAT_INVALID',
      `config.json: ${heads} heads of ${headDim} with ${kvHeads} for keys and values do not fit together.`,
    );
  const activation = config['hidden_act'] ?? 'silu';
  if (activation !== 'silu')
    unsupported(`The activation ${JSON.stringify(activation)} is not supported for Llama models.`, 'Supported: silu.');
  const epsilon = positive(config, 'rms_norm_eps', 1e-6);
  const attentionBias = flag(config, 'attention_bias', false);
  const mlpBias = flag(config, 'mlp_bias', false);
  const part = (module: string, path: string, to: number) => ({ module, path: `${path}.${module}`, to });
  const tied = flag(config, 'tie_word_embeddings', false);

  return {
    architecture: 'llama',
    hidden,
    layers: count(config, 'num_hidden_layers'),
    heads,
    kvHeads,
    headDim,
    vocab: count(config, 'vocab_size'),
    maxPositions: count(config, 'max_position_embeddings', 2048),
    epsilon,
    frequencies: frequencies(config, headDim),
    projections: [
      {
        name: 'qkv',
        from: hidden,
        parts: [
          part('q_proj', 'self_attn', heads * headDim),
          part('k_proj', 'self_attn', kvHeads * headDim),
          part('v_proj', 'self_attn', kvHeads * headDim),
        ],
        bias: attentionBias,
      },
      { name: 'o', from: heads * headDim, parts: [part('o_proj', 'self_attn', hidden)], bias: attentionBias },
      {
        name: 'gateUp',
        from: hidden,
        parts: [part('gate_proj', 'mlp', ffn), part('up_proj', 'mlp', ffn)],
        bias: mlpBias,
      },
      { name: 'down', from: ffn, parts: [part('down_proj', 'mlp', hidden)], bias: mlpBias },
    ],
    vectors: [
      { name: 'norm1', path: 'input_layernorm.weight', size: hidden },
      { name: 'norm2', path: 'post_attention_layernorm.weight', size: hidden },
    ],
    layer: (index) => `model.layers.${index}.`,
    names: {
      embedding: 'model.embed_tokens.weight',
      finalNorm: 'model.norm.weight',
      head: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',
    },
    block(b, x) {
      const [q, k, v] = b.project('qkv', rmsNorm(x, b.vector('norm1'), epsilon));
      const y = b.projectOnto(x, 'o', b.attend(q!, k!, v!));
      const [gate, up] = b.project('gateUp', rmsNorm(y, b.vector('norm2'), epsilon));
      return b.projectOnto(y, 'down', mul(silu(gate!), up!));
    },
  };
}

/** theta^(-2i / headDim) (Su et al. 2021). transformers 5 writes `rope_parameters` in place of `rope_theta` and `rope_scaling`. */
function frequencies(config: HfConfig, headDim: number): Float64Array {
  const parameters = section(config, 'rope_parameters');
  const scaling = section(config, 'rope_scaling') ?? parameters;
  const kind = scaling?.['rope_type'] ?? scaling?.['type'] ?? 'default';
  if (kind !== 'default')
    unsupported(
      `Rope scaling ${JSON.stringify(kind)} is not supported yet.`,
      'Choose a model without rope scaling, for example SmolLM2.',
    );
  const partial = config['partial_rotary_factor'] ?? parameters?.['partial_rotary_factor'] ?? 1;
  if (partial !== 1)
    unsupported('Rotary positions on a part of each head are not supported for Llama models.', 'Choose another model.');
  const theta = positive({ ...parameters, ...withoutNull(config) }, 'rope_theta', 10000);
  return Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
}

const withoutNull = (config: HfConfig): HfConfig =>
  typeof config['rope_theta'] === 'number' ? { rope_theta: config['rope_theta'] } : {};

export const llama: Architecture = { modelTypes: ['llama'], classes: ['LlamaForCausalLM'], read };
