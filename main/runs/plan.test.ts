/** @file A run that does not fit is refused before it begins, with what would make it fit. */
import { expect, it } from 'vitest';
import { Recipe } from '../contract/recipe.ts';
import { modulesOf, readSpec } from '../engine/index.ts';
import { estimate } from '../recipes/estimate.ts';
import { checkMemory } from './plan.ts';

const spec = readSpec({
  model_type: 'llama',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  tie_word_embeddings: true,
});
const data = {
  prose: true,
  trainRows: 20,
  heldOutRows: 2,
  trainTokens: 1e5,
  heldOutTokens: 1e4,
  usualLength: 512,
};

it('a run that needs more memory than is free is refused with both figures, and the first way out is one', () => {
  const model = { spec, modules: modulesOf(spec), parameters: 135e6 };
  const recipe = Recipe.parse({ strategy: 'non-instruct', maxLength: 512, batchSize: 4 });
  const machine = { threads: 2, freeMemoryBytes: 2e9, freeDiskBytes: 1e12, tokensPerSecond: () => null };
  const asked = (set: Partial<Recipe>) => estimate({ ...recipe, ...set }, model, data, machine);
  const { suggestions } = asked({});
  expect(() => checkMemory(asked({}))).toThrow(
    expect.objectContaining({
      code: 'MEMORY_SHORT',
      message: expect.stringMatching(/takes about 2\.\d+ GB of memory, and 2\.0+ GB are free/) as unknown,
      hint: expect.stringContaining(suggestions[0]!.text) as unknown,
    }),
  );
  expect(() => checkMemory(asked(suggestions[0]!.set))).not.toThrow();
});
