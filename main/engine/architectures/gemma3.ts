/** @file Gemma 3 text models (Gemma Team 2025): Gemma 2 with q and k normalised, no caps, and other rotary positions in the layers with a window. */
import type { HfConfig } from '../../formats/model.ts';
import { kindsOf, layerTypes, readSizes } from './common.ts';
import { count, section } from './config.ts';
import { gemmaDecoder } from './gemma2.ts';
import { rotaryOf, type Rotary } from './rotary.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' Gemma3TextConfig; version 5 nests the rotary parameters by kind of layer. */
function read(config: HfConfig): ModelSpec {
  const sizes = readSizes(config, { maxPositions: 131072, headDim: 256 });
  const pattern = count(config, 'sliding_window_pattern', 6);
  const sliding = layerTypes(config, sizes.layers, (layer) => (layer + 1) % pattern !== 0);
  const nested = section(config, 'rope_parameters') ?? {};
  const rotary = (type: string, older: HfConfig): Rotary => rotaryOf({ ...older, ...section(nested, type) }, sizes);
  const kinds = kindsOf(
    sliding,
    rotary('full_attention', { rope_theta: config['rope_theta'] ?? 1e6, ...section(config, 'rope_scaling') }),
    count(config, 'sliding_window', 4096),
    rotary('sliding_attention', { rope_theta: config['rope_local_base_freq'] ?? 1e4 }),
  );
  return gemmaDecoder(config, 'gemma3_text', sizes, kinds, { headNorms: true });
}

export const gemma3: Architecture = { modelTypes: ['gemma3_text'], classes: ['Gemma3ForCausalLM'], read };
