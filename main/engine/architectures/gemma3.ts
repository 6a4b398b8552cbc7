/** @file Gemma 3 text models (Gemma Team 2025): Gemma 2 with q and k normalised, no caps, and other rotary positions in the layers with a window. */
import type { HfConfig } from '../../formats/model.ts';
import { kindsOf, layerTypes, readSizes } from './common.ts';
import { count } from '../../formats/config.ts';
import { gemmaDecoder } from './gemma2.ts';
import { rotaryOf, rotaryParametersByKind } from '../../formats/rotary.ts';
import type { Architecture, ModelSpec } from './spec.ts';

/** Defaults are those of transformers' Gemma3TextConfig; version 5 nests the rotary parameters by kind of layer. */
function read(config: HfConfig): ModelSpec {
  const sizes = readSizes(config, { maxPositions: 131072, headDim: 256 });
  const pattern = count(config, 'sliding_window_pattern', 6);
  const sliding = layerTypes(config, sizes.layers, (layer) => (layer + 1) % pattern !== 0);
  const parameters = rotaryParametersByKind(config, { full: 1e6, sliding: 1e4 });
  const kinds = kindsOf(
    sliding,
    rotaryOf(parameters.full, sizes),
    count(config, 'sliding_window', 4096),
    rotaryOf(parameters.sliding, sizes),
  );
  return gemmaDecoder(config, 'gemma3_text', sizes, kinds, { headNorms: true });
}

export const gemma3: Architecture = { modelTypes: ['gemma3_text'], classes: ['Gemma3ForCausalLM'], read };
