/** @file The architectures that the engine knows, chosen by a model's config. */
import { FettleError } from '../../contract/errors.ts';
import type { HfConfig } from '../../formats/model.ts';
import { gemma2 } from './gemma2.ts';
import { gemma3 } from './gemma3.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { phi3 } from './phi3.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';
import type { Architecture, ModelSpec } from './spec.ts';

const ARCHITECTURES: readonly Architecture[] = [llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, gpt2];

/** model_type of every architecture that can be trained. */
export const SUPPORTED: readonly string[] = ARCHITECTURES.flatMap((a) => a.modelTypes);

/** Sizes, weights and forward pass of the model a config describes. Throws MODEL_UNSUPPORTED, FORMAT_INVALID. */
export function readSpec(config: HfConfig): ModelSpec {
  const type = config['model_type'];
  const classes: unknown[] = Array.isArray(config['architectures']) ? config['architectures'] : [];
  const found =
    typeof type === 'string'
      ? ARCHITECTURES.find((a) => a.modelTypes.includes(type))
      : ARCHITECTURES.find((a) => classes.some((c) => typeof c === 'string' && a.classes.includes(c)));
  if (found) return found.read(config);
  const name = typeof type === 'string' ? type : classes.join(', ') || 'unknown';
  throw new FettleError(
    'MODEL_UNSUPPORTED',
    `Models of the architecture ${name} are not supported.`,
    `Supported architectures: ${SUPPORTED.join(', ')}.`,
    { details: { architecture: name, supported: SUPPORTED } },
  );
}
