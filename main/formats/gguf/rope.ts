/** @file Scaled rotary positions in a GGUF file: by name and numbers, and as tables of factors for Llama 3 and LongRoPE. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../model.ts';
import { rotaryOf } from '../rotary.ts';
import type { Values } from './values.ts';
import type { Metadata } from './write.ts';

/** A table of factors that pairs are divided by. */
export interface Table {
  readonly name: string;
  readonly numbers: Float32Array;
}
/** The numbers of a table in the file; null where there is none. */
export type ReadTable = (name: string) => Promise<Float32Array | null>;

const LLAMA3 = 'rope_freqs.weight';
const LONG = 'rope_factors_long.weight';
const SHORT = 'rope_factors_short.weight';

/**
 * `rope_scaling` as transformers writes it, undefined where there is none.
 * @throws MODEL_UNSUPPORTED for a table that is not of Llama 3's making
 */
export async function readScaling(
  values: Values,
  table: ReadTable,
  plain: { readonly theta: number; readonly turned: number; readonly maxPositions: number },
): Promise<HfConfig | undefined> {
  const original = values.number('rope.scaling.original_context_length');
  const [freqs, long, short] = [await table(LLAMA3), await table(LONG), await table(SHORT)];
  if (freqs) return llama3Of(freqs, plain);
  if (long && short)
    return {
      rope_type: 'longrope',
      long_factor: [...long].map(shorter),
      short_factor: [...short].map(shorter),
      attention_factor: shorter(values.number('rope.scaling.attn_factor') ?? 1),
      original_max_position_embeddings: original ?? plain.maxPositions,
    };
  // Files of before 2023-11 know linear scaling alone.
  const old = values.number('rope.scale_linear') ?? 1;
  const kind = values.text('rope.scaling.type') ?? (old === 1 ? 'none' : 'linear');
  if (kind === 'none') return undefined;
  const factor = shorter(values.number('rope.scaling.factor') ?? old);
  if (kind !== 'yarn') return { rope_type: kind, factor };
  const sharper = shorter(values.number('rope.scaling.attn_factor') ?? 1);
  return {
    rope_type: 'yarn',
    factor,
    original_max_position_embeddings: original ?? plain.maxPositions,
    beta_fast: values.number('rope.scaling.yarn_beta_fast') ?? 32,
    beta_slow: values.number('rope.scaling.yarn_beta_slow') ?? 1,
    // llama.cpp sharpens by itself and takes this on top.
    ...(sharper === 1 ? {} : { attention_factor: sharper * (0.1 * Math.log(factor) + 1) }),
  };
}

const shorter = (value: number): number => Number(value.toPrecision(7));

/**
 * Llama 3's parameters from its table. Between low and high a pair's inverse factor is a line over its turns: two
 * points of it give low and high as shares of the original length, and low is always 1 (only the ratios matter).
 */
function llama3Of(
  table: Float32Array,
  { theta, turned, maxPositions }: { readonly theta: number; readonly turned: number; readonly maxPositions: number },
): HfConfig {
  const options = { headDim: turned, maxPositions };
  const { frequencies } = rotaryOf({ rope_theta: theta }, options);
  const factor = shorter(Math.max(...table));
  const between = [...table.keys()].filter((i) => table[i]! > 1.0001 && table[i]! < factor * 0.9999);
  const point = (i: number): readonly [number, number] => [
    frequencies[i]! / (2 * Math.PI),
    (1 / table[i]! - 1 / factor) / (1 - 1 / factor),
  ];
  let guess = { high_freq_factor: 4, original_max_position_embeddings: 8192 };
  if (between.length >= 2) {
    const [[x1, y1], [x2, y2]] = [point(between[0]!), point(between.at(-1)!)];
    const slope = (y1 - y2) / (x1 - x2);
    const low = slope * x1 - y1;
    guess = {
      high_freq_factor: Number((1 + 1 / low).toPrecision(4)),
      original_max_position_embeddings: Math.round(slope / low),
    };
  }
  const found = { rope_type: 'llama3', factor, low_freq_factor: 1, ...guess };
  const made = factor >= 1 ? rotaryOf({ ...found, rope_theta: theta }, options).frequencies : frequencies;
  if (table.length !== made.length || made.some((f, i) => Math.abs(frequencies[i]! / f / table[i]! - 1) > 1e-3))
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      'The file scales its rotary positions by a table that is not Llama 3’s.',
      'Get the model as a Hugging Face folder.',
    );
  return found;
}

/**
 * The way there, of parameters as `readRotary` puts them together.
 * @throws EXPORT_UNSUPPORTED for what the file cannot say
 */
export function writeScaling(
  architecture: string,
  parameters: HfConfig,
  options: { readonly headDim: number; readonly maxPositions: number },
): { readonly metadata: Metadata; readonly tables: readonly Table[] } {
  const kind = parameters['rope_type'] ?? parameters['type'] ?? 'default';
  const of = (key: string): number => Number(parameters[key]);
  const real = (key: string, value: number): Metadata[number] => [
    `${architecture}.rope.scaling.${key}`,
    ['float32', value],
  ];
  const original: Metadata[number] = [
    `${architecture}.rope.scaling.original_context_length`,
    ['uint32', Number(parameters['original_max_position_embeddings'] ?? options.maxPositions)],
  ];
  const named = (name: string): Metadata[number] => [`${architecture}.rope.scaling.type`, ['string', name]];
  switch (kind) {
    case 'default':
      return { metadata: [], tables: [] };
    case 'linear':
      return { metadata: [named('linear'), real('factor', of('factor'))], tables: [] };
    case 'llama3': {
      const { frequencies } = rotaryOf(parameters, options);
      const plain = rotaryOf({ ...parameters, rope_type: 'default' }, options).frequencies;
      return {
        metadata: [],
        tables: [{ name: LLAMA3, numbers: Float32Array.from(plain, (f, i) => f / frequencies[i]!) }],
      };
    }
    case 'yarn': {
      const factor = Number(parameters['factor'] ?? options.maxPositions / of('original_max_position_embeddings'));
      if (parameters['truncate'] === false) throw refused('YaRN between whole pairs');
      const own = rotaryOf(parameters, options).factor / (0.1 * Math.log(factor) + 1);
      return {
        metadata: [
          named('yarn'),
          real('factor', factor),
          original,
          real('yarn_beta_fast', Number(parameters['beta_fast'] ?? 32)),
          real('yarn_beta_slow', Number(parameters['beta_slow'] ?? 1)),
          ...(Math.abs(own - 1) < 1e-6 ? [] : [real('attn_factor', own)]),
        ],
        tables: [],
      };
    }
    case 'su':
    case 'longrope': {
      if (architecture !== 'phi3') throw refused('LongRoPE outside of Phi-3');
      const list = (key: string): Float32Array => Float32Array.from(parameters[key] as readonly number[]);
      return {
        metadata: [original, real('attn_factor', rotaryOf(parameters, options).factor)],
        tables: [
          { name: LONG, numbers: list('long_factor') },
          { name: SHORT, numbers: list('short_factor') },
        ],
      };
    }
    default:
      throw refused(`rotary positions scaled by ${JSON.stringify(kind)}`);
  }
}

const refused = (what: string): FettleError =>
  new FettleError('EXPORT_UNSUPPORTED', `A GGUF file cannot hold ${what}.`, 'Export as safetensors or as an adapter.');
