/** @file The config that transformers would write for a GGUF file, and a config as llama.cpp's keys. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../model.ts';
import { rotaryParameters, rotaryParametersByKind } from '../rotary.ts';
import { familyNamed, familyOf, type Family } from './names.ts';
import type { GgufHeader, GgufTensor } from './read.ts';
import { readScaling, writeScaling, type ReadTable, type Table } from './rope.ts';
import { numberOf, shortest, valuesOf, type Values } from './values.ts';
import type { Metadata } from './write.ts';

/** Layers at which llama.cpp knows Gemma's 27B, whose scores are scaled by the width of a head were the hidden size shared out. */
const LARGEST: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 };
/** One in so many layers has no window. */
const PERIOD: Readonly<Record<string, number>> = { gemma2: 2, gemma3: 6 };
const CLASSES: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  gemma2: 'Gemma2ForCausalLM',
  gemma3: 'Gemma3ForCausalLM',
  phi3: 'Phi3ForCausalLM',
  gpt2: 'GPT2LMHeadModel',
};

/**
 * Keys as transformers writes them. Where a file holds another architecture, only its name: the engine refuses it by that.
 * @throws FORMAT_INVALID, MODEL_UNSUPPORTED
 */
export async function configOf({ metadata, tensors }: GgufHeader, table: ReadTable): Promise<HfConfig> {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    throw new FettleError(
      'FORMAT_INVALID',
      'The GGUF file does not say what architecture it holds.',
      'Get the file again from where it came.',
    );
  const family = familyNamed(architecture);
  if (!family) return { model_type: architecture };
  const values = valuesOf({ metadata }, architecture);
  // llama.cpp gives the mixtures of experts the same name.
  if (architecture === 'llama' && (values.number('expert_count') ?? 0) > 0) return { model_type: 'mixtral' };
  const has = (name: string): boolean => tensors.some((each) => each.name === name);
  const rows = tensors.find(({ name }) => name === 'token_embd.weight')?.shape[0] ?? values.number('vocab_size');
  const id = (name: string): number | undefined => numberOf(metadata.get(`tokenizer.ggml.${name}_token_id`), name);
  const shared = {
    architectures: [CLASSES[architecture]],
    model_type: family.modelTypes[0],
    vocab_size: rows,
    tie_word_embeddings: !has('output.weight'),
    bos_token_id: id('bos'),
    eos_token_id: id('eos'),
    // transformers would take its own default, which is no token of a small vocabulary.
    pad_token_id: id('padding') ?? (architecture === 'phi3' ? null : undefined),
  };
  const own = architecture === 'gpt2' ? gpt2Config(values, tensors) : await gatedConfig(family, values, has, table);
  return Object.fromEntries(Object.entries({ ...shared, ...own }).filter(([, value]) => value !== undefined));
}

function gpt2Config(values: Values, tensors: readonly GgufTensor[]): HfConfig {
  return {
    n_embd: values.number('embedding_length'),
    n_layer: values.number('block_count'),
    n_head: values.number('attention.head_count'),
    n_inner: values.number('feed_forward_length'),
    // Some converters wrote another length than the table has.
    n_positions:
      tensors.find(({ name }) => name === 'position_embd.weight')?.shape[0] ?? values.number('context_length'),
    layer_norm_epsilon: shortest(values.number('attention.layer_norm_epsilon')),
    activation_function: 'gelu_new',
  };
}

async function gatedConfig(
  family: Family,
  values: Values,
  has: (tensor: string) => boolean,
  table: ReadTable,
): Promise<HfConfig> {
  const { number } = values;
  const heads = number('attention.head_count');
  const headDim = number('attention.key_length') ?? (number('embedding_length') ?? 0) / (heads ?? 1);
  const valueDim = number('attention.value_length') ?? headDim;
  if (valueDim !== headDim)
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      `The model has keys of ${headDim} and values of ${valueDim} numbers.`,
      'Choose a model where they are alike.',
    );
  const turned = number('rope.dimension_count') ?? headDim;
  const theta = number('rope.freq_base') ?? 10000;
  const maxPositions = number('context_length') ?? 0;
  const biased = has('blk.0.attn_q.bias');
  const shared = {
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: number('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    max_position_embeddings: number('context_length'),
    rms_norm_eps: shortest(number('attention.layer_norm_rms_epsilon')),
    rope_theta: theta,
    rope_scaling: await readScaling(values, table, { theta, turned, maxPositions }),
    partial_rotary_factor: turned === headDim ? undefined : turned / headDim,
  };
  switch (family.name) {
    case 'llama':
      return { ...shared, hidden_act: 'silu', attention_bias: biased, mlp_bias: has('blk.0.ffn_up.bias') };
    case 'qwen3':
      return { ...shared, hidden_act: 'silu', attention_bias: biased };
    case 'phi3': {
      const { head_dim: _, ...rest } = shared;
      const original = number('rope.scaling.original_context_length') ?? maxPositions;
      return {
        ...rest,
        hidden_act: 'silu',
        sliding_window: number('attention.sliding_window') || undefined,
        original_max_position_embeddings: original,
      };
    }
    case 'gemma2':
    case 'gemma3':
      return { ...shared, ...gemmaConfig(family.name, values, shared) };
    default:
      return { ...shared, hidden_act: 'silu' };
  }
}

function gemmaConfig(
  name: 'gemma2' | 'gemma3',
  { number, raw }: Values,
  sizes: {
    readonly hidden_size: number | undefined;
    readonly num_attention_heads: number | undefined;
    readonly head_dim: number;
  },
): HfConfig {
  const layers = number('block_count') ?? 0;
  const shared = {
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: gemmaScalar(name, layers, sizes.hidden_size, sizes.num_attention_heads, sizes.head_dim),
    final_logit_softcapping: shortest(number('final_logit_softcapping')) ?? (name === 'gemma2' ? 30 : undefined),
  };
  const window = number('attention.sliding_window') ?? (name === 'gemma2' ? 4096 : 0);
  const listed = raw('attention.sliding_window_pattern');
  const period = typeof listed === 'number' ? listed : PERIOD[name]!;
  const sliding = (layer: number): boolean =>
    Array.isArray(listed) ? Boolean(listed[layer]) : window > 0 && layer % period < period - 1;
  return {
    ...shared,
    ...(name === 'gemma2' ? { attn_logit_softcapping: shortest(number('attn_logit_softcapping')) ?? 50 } : {}),
    ...(name === 'gemma3' ? { rope_local_base_freq: number('rope.freq_base_swa') ?? 10000 } : {}),
    sliding_window: window || 4096,
    layer_types: Array.from({ length: layers }, (_, layer) =>
      sliding(layer) ? 'sliding_attention' : 'full_attention',
    ),
  };
}

/** What llama.cpp scales the scores of such a Gemma by, as 1 over its root; no key says so. */
const gemmaScalar = (name: string, layers: number, hidden = 0, heads = 1, headDim = 0): number =>
  layers === LARGEST[name] ? Math.floor(hidden / heads) : headDim;

/** What a file says of a model, and the tables that stand among its tensors. */
export interface Described {
  readonly metadata: Metadata;
  readonly tables: readonly Table[];
}

/**
 * A config as the keys of llama.cpp, the way back of `configOf`.
 * @throws EXPORT_UNSUPPORTED where the config says what the file cannot hold.
 */
export function describe(config: HfConfig): Described & { readonly family: Family } {
  const family = familyOf(config);
  if (!family)
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      `Models of the architecture ${String(config['model_type'])} cannot be written as GGUF yet.`,
      'Export as safetensors: llama.cpp converts that folder.',
    );
  const { metadata, tables } =
    family.name === 'gpt2' ? { metadata: gpt2Keys(config), tables: [] } : gatedKeys(family.name, config);
  return { family, metadata: [['general.architecture', ['string', family.name]], ...metadata], tables };
}

type Key = Metadata[number];
const keysOf = (architecture: string) => ({
  whole: (key: string, value: number): Key => [`${architecture}.${key}`, ['uint32', value]],
  real: (key: string, value: number): Key => [`${architecture}.${key}`, ['float32', value]],
});

function numberIn(config: HfConfig, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (typeof value === 'number') return value;
  throw new FettleError('MODEL_INCOMPLETE', `The config has no ${key}.`, 'Add the model again.');
}

function gpt2Keys(config: HfConfig): Metadata {
  const { whole, real } = keysOf('gpt2');
  const number = (key: string, fallback: number): number => numberIn(config, key, fallback);
  const hidden = number('n_embd', 768);
  if (config['scale_attn_weights'] === false) throw refused('scores that are not scaled');
  return [
    whole('block_count', number('n_layer', 12)),
    whole('context_length', number('n_positions', 1024)),
    whole('embedding_length', hidden),
    whole('feed_forward_length', number('n_inner', 4 * hidden)),
    whole('attention.head_count', number('n_head', 12)),
    real('attention.layer_norm_epsilon', number('layer_norm_epsilon', 1e-5)),
  ];
}

function gatedKeys(name: string, config: HfConfig): Described {
  const { whole, real } = keysOf(name);
  const number = (key: string, fallback?: number): number => numberIn(config, key, fallback);
  const hidden = number('hidden_size');
  const heads = number('num_attention_heads');
  const headDim = number('head_dim', name.startsWith('gemma') ? 256 : name === 'qwen3' ? 128 : hidden / heads);
  const positions = number('max_position_embeddings', POSITIONS[String(config['model_type'])]);
  const byKind = name === 'gemma3' ? rotaryParametersByKind(config, { full: 1e6, sliding: 1e4 }) : undefined;
  const rotary = byKind?.full ?? rotaryParameters({ ...ORIGINAL[name], ...config });
  const partial = Number(rotary['partial_rotary_factor'] ?? 1);
  const scaling = writeScaling(name, rotary, { headDim, maxPositions: positions });
  return {
    tables: scaling.tables,
    metadata: [
      whole('block_count', number('num_hidden_layers')),
      whole('context_length', contextLength(name, config, positions)),
      whole('embedding_length', hidden),
      whole('feed_forward_length', number('intermediate_size')),
      whole('attention.head_count', heads),
      whole('attention.head_count_kv', number('num_key_value_heads', heads)),
      whole('attention.key_length', headDim),
      whole('attention.value_length', headDim),
      real('attention.layer_norm_rms_epsilon', number('rms_norm_eps', name === 'phi3' ? 1e-5 : 1e-6)),
      whole('rope.dimension_count', Math.floor(headDim * partial)),
      real('rope.freq_base', Number(rotary['rope_theta'] ?? 10000)),
      ...scaling.metadata,
      ...(name === 'gemma2' || name === 'gemma3' ? gemmaKeys(name, config, { hidden, heads, headDim }) : []),
      ...(byKind ? [real('rope.freq_base_swa', slidingTheta(byKind.sliding))] : []),
      // llama.cpp tells Phi-4 from the others by a window of 0, and takes no notice of it otherwise.
      ...(name === 'phi3' ? [whole('attention.sliding_window', Number(config['sliding_window'] ?? 0))] : []),
      whole('vocab_size', number('vocab_size')),
    ],
  };
}

/** Where a config does not say: transformers' defaults. */
const POSITIONS: Readonly<Record<string, number>> = {
  llama: 2048,
  mistral: 131072,
  qwen2: 32768,
  qwen3: 32768,
  gemma2: 8192,
  gemma3_text: 131072,
  phi3: 4096,
};
const ORIGINAL: Readonly<Record<string, HfConfig>> = { phi3: { original_max_position_embeddings: 4096 } };

/** A file that is right for fewer tokens is of no use. */
const LEAST_CONTEXT = 1024;

/**
 * llama.cpp has no windows in these: up to the window's length the file is the model, and no longer one is claimed.
 * @throws EXPORT_UNSUPPORTED where that is very short
 */
function contextLength(name: string, config: HfConfig, positions: number): number {
  const window = windowIgnored(name, config) ?? positions;
  if (window < positions && window < LEAST_CONTEXT) throw refused(`a window of ${window} tokens in such a model`);
  return Math.min(positions, window);
}

function windowIgnored(name: string, config: HfConfig): number | undefined {
  const window = typeof config['sliding_window'] === 'number' ? config['sliding_window'] : undefined;
  if (name === 'phi3') return window;
  if (config['model_type'] === 'mistral') return config['sliding_window'] === null ? undefined : (window ?? 4096);
  const used = (name === 'qwen2' || name === 'qwen3') && config['use_sliding_window'] === true;
  return used && config['sliding_window'] !== null ? (window ?? 4096) : undefined;
}

function gemmaKeys(
  name: 'gemma2' | 'gemma3',
  config: HfConfig,
  { hidden, heads, headDim }: { readonly hidden: number; readonly heads: number; readonly headDim: number },
): Metadata {
  const { whole, real } = keysOf(name);
  const layers = numberIn(config, 'num_hidden_layers');
  const scalar = numberIn(config, 'query_pre_attn_scalar', 256);
  if (scalar !== gemmaScalar(name, layers, hidden, heads, headDim)) throw refused(`Gemma’s scores scaled by ${scalar}`);
  if (config['attention_bias'] === true) throw refused('a bias in Gemma’s attention');
  const cap = (key: string, fallback?: number): number | undefined =>
    config[key] === null ? undefined : ((config[key] as number | undefined) ?? fallback);
  const [scores, logits] = [
    cap('attn_logit_softcapping', name === 'gemma2' ? 50 : undefined),
    cap('final_logit_softcapping', name === 'gemma2' ? 30 : undefined),
  ];
  if (name === 'gemma2' && (scores === undefined || logits === undefined)) throw refused('a Gemma 2 without soft caps');
  if (name === 'gemma2' && config['tie_word_embeddings'] === false) throw refused('a Gemma 2 with a head of its own');
  // llama.cpp caps Gemma 3's logits only where there are no windows.
  if (name === 'gemma3' && (scores ?? logits) !== undefined) throw refused('soft caps in a Gemma 3');
  return [
    ...(scores === undefined ? [] : [real('attn_logit_softcapping', scores)]),
    ...(logits === undefined ? [] : [real('final_logit_softcapping', logits)]),
    whole('attention.sliding_window', numberIn(config, 'sliding_window', 4096)),
    whole('attention.sliding_window_pattern', gemmaPeriod(name, config, layers)),
  ];
}

/** One in how many layers has no window. @throws EXPORT_UNSUPPORTED where it is not the last of each so many. */
function gemmaPeriod(name: 'gemma2' | 'gemma3', config: HfConfig, layers: number): number {
  const types: unknown = config['layer_types'];
  if (!Array.isArray(types)) return numberIn(config, 'sliding_window_pattern', PERIOD[name]);
  const first = types.indexOf('full_attention');
  // With windows in all layers, a period that ends after the last of them.
  const period = first < 0 ? layers + 1 : first + 1;
  if (types.some((type, layer) => (type === 'full_attention') !== (layer % period === period - 1)))
    throw refused('such an order of layers with and without a window');
  return period;
}

/** @throws EXPORT_UNSUPPORTED where the layers with a window scale their positions. */
function slidingTheta(parameters: HfConfig): number {
  if ((parameters['rope_type'] ?? 'default') !== 'default')
    throw refused('scaled rotary positions in the layers with a window');
  return numberIn(parameters, 'rope_theta', 10000);
}

const refused = (what: string): FettleError =>
  new FettleError('EXPORT_UNSUPPORTED', `A GGUF file cannot hold ${what}.`, 'Export as safetensors or as an adapter.');
