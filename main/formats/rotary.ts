/** @file Rotary positions (Su et al. 2021) and what stretches them over longer texts: linear, llama3, YaRN, LongRoPE. As transformers' modeling_rope_utils.py. */
import { FettleError } from '../contract/errors.ts';
import type { HfConfig } from './model.ts';
import { section, unsupported } from './config.ts';

export interface Rotary {
  /** Pair i turns by p times frequencies[i] at position p. The first 2 * length numbers of each head are turned. */
  readonly frequencies: Float64Array;
  /** LongRoPE's others, for texts of more than `after` tokens. */
  readonly long: { readonly frequencies: Float64Array; readonly after: number } | undefined;
  /** Factor of cosines and sines. */
  readonly factor: number;
}

export interface RotaryOptions {
  readonly headDim: number;
  readonly maxPositions: number;
  /** Where config does not say. */
  readonly theta?: number;
}

/** Of a config with one set of them. Throws MODEL_UNSUPPORTED, FORMAT_INVALID. */
export const readRotary = (config: HfConfig, options: RotaryOptions): Rotary =>
  rotaryOf(rotaryParameters(config), options);

/** transformers 5 writes `rope_parameters` in place of `rope_theta`, `rope_scaling` and `partial_rotary_factor`. Throws FORMAT_INVALID. */
export function rotaryParameters(config: HfConfig): HfConfig {
  const known = (key: string): HfConfig =>
    config[key] === undefined || config[key] === null ? {} : { [key]: config[key] };
  return {
    ...known('rope_theta'),
    ...known('partial_rotary_factor'),
    ...section(config, 'rope_parameters'),
    ...section(config, 'rope_scaling'),
    ...known('original_max_position_embeddings'),
  };
}

/** Those of layers with a window and of the others, where they differ: nested by kind of layer, or by older names. Throws FORMAT_INVALID. */
export function rotaryParametersByKind(
  config: HfConfig,
  theta: { readonly full: number; readonly sliding: number },
): { readonly full: HfConfig; readonly sliding: HfConfig } {
  const nested = section(config, 'rope_parameters') ?? {};
  return {
    full: {
      rope_theta: config['rope_theta'] ?? theta.full,
      ...section(config, 'rope_scaling'),
      ...section(nested, 'full_attention'),
    },
    sliding: { rope_theta: config['rope_local_base_freq'] ?? theta.sliding, ...section(nested, 'sliding_attention') },
  };
}

/** Of the parameters by transformers' names. Throws MODEL_UNSUPPORTED, FORMAT_INVALID. */
export function rotaryOf(parameters: HfConfig, { headDim, maxPositions, theta = 10000 }: RotaryOptions): Rotary {
  const number = (key: string, fallback?: number): number => {
    const value = parameters[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw invalid(key, `is not a positive number: ${JSON.stringify(value)}`);
    return value;
  };
  const base = number('rope_theta', theta);
  const turned = Math.floor(headDim * number('partial_rotary_factor', 1));
  if (turned % 2 !== 0 || turned > headDim)
    throw invalid('partial_rotary_factor', `turns ${turned} of ${headDim} numbers`);
  const plain = Float64Array.from({ length: turned / 2 }, (_, i) => base ** ((-2 * i) / turned));
  const original = (): number => number('original_max_position_embeddings', maxPositions);
  const stretch = (): number => number('factor', maxPositions / original());

  const kind = parameters['rope_type'] ?? parameters['type'] ?? 'default';
  switch (kind) {
    case 'default':
      return { frequencies: plain, long: undefined, factor: 1 };
    case 'linear': {
      const factor = number('factor');
      return { frequencies: plain.map((f) => f / factor), long: undefined, factor: 1 };
    }
    case 'llama3':
      return {
        frequencies: llama3(plain, number('factor'), number('low_freq_factor'), number('high_freq_factor'), original()),
        long: undefined,
        factor: 1,
      };
    case 'yarn': {
      const factor = stretch();
      const [mscale, mscaleAll] = ['mscale', 'mscale_all_dim'].map((key) => Number(parameters[key] ?? 0)) as [
        number,
        number,
      ];
      const ours =
        mscale && mscaleAll ? magnitude(factor, mscale) / magnitude(factor, mscaleAll) : magnitude(factor, 1);
      return {
        frequencies: yarn(plain, {
          factor,
          theta: base,
          original: original(),
          fast: number('beta_fast', 32),
          slow: number('beta_slow', 1),
          whole: parameters['truncate'] !== false,
        }),
        long: undefined,
        factor: number('attention_factor', ours),
      };
    }
    // `su` is what the first models with it called LongRoPE.
    case 'su':
    case 'longrope': {
      const after = original();
      const factor = stretch();
      const ours = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(after));
      const scaled = (key: string): Float64Array => {
        const list = factors(parameters, key, plain.length);
        return plain.map((f, i) => f / list[i]!);
      };
      return {
        frequencies: scaled('short_factor'),
        long: { frequencies: scaled('long_factor'), after },
        factor: number('attention_factor', ours),
      };
    }
    default:
      return unsupported(
        `Rope scaling ${JSON.stringify(kind)} is not supported.`,
        'Supported: linear, llama3, yarn, longrope.',
      );
  }
}

/** Long waves are stretched by `factor`, short ones stay, between them it goes over (Llama 3.1). */
function llama3(plain: Float64Array, factor: number, low: number, high: number, original: number): Float64Array {
  return plain.map((f) => {
    const turns = (original * f) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return f * ((1 - smooth) / factor + smooth);
  });
}

/** Equation 23 of Peng et al. 2023: pairs that turn less than `slow` times in the original length are stretched, those above `fast` stay. */
function yarn(
  plain: Float64Array,
  y: {
    readonly factor: number;
    readonly theta: number;
    readonly original: number;
    readonly fast: number;
    readonly slow: number;
    readonly whole: boolean;
  },
): Float64Array {
  const dim = plain.length * 2;
  const pairOf = (turns: number): number =>
    (dim * Math.log(y.original / (turns * 2 * Math.PI))) / (2 * Math.log(y.theta));
  const [first, last] = [pairOf(y.fast), pairOf(y.slow)];
  const low = Math.max(y.whole ? Math.floor(first) : first, 0);
  let high = Math.min(y.whole ? Math.ceil(last) : last, dim - 1);
  if (low === high) high += 0.001;
  return plain.map((f, i) => {
    const stretched = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return f * (stretched / y.factor + 1 - stretched);
  });
}

/** How much sharper attention must be for its entropy to stay (Peng et al. 2023, equation 22). */
const magnitude = (factor: number, scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);

function factors(parameters: HfConfig, key: string, length: number): readonly number[] {
  const list: unknown = parameters[key];
  if (!Array.isArray(list) || list.length !== length || !list.every((f) => typeof f === 'number' && f > 0))
    throw invalid(key, `is no list of ${length} positive numbers`);
  return list as readonly number[];
}

const invalid = (key: string, what: string): FettleError =>
  new FettleError(
    'FORMAT_INVALID',
    `config.json: ${key} of the rotary positions ${what}.`,
    'The model folder may be damaged or incomplete; download it again.',
  );
