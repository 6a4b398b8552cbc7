/** @file Which data train by which strategy. */
import type { DatasetKind } from './entities.ts';
import { FettleError } from './errors.ts';
import type { Strategy } from './recipe.ts';

/** Pairs and conversations teach by instruction, prose without; preferences do not train yet. */
export const trainsBy = (kind: DatasetKind): Strategy | null =>
  kind === 'preference' ? null : kind === 'prose' ? 'non-instruct' : 'instruct';

/** @throws INPUT_INVALID for preferences */
export function strategyOf({ name, kind }: { readonly name: string; readonly kind: DatasetKind }): Strategy {
  const strategy = trainsBy(kind);
  if (strategy) return strategy;
  throw new FettleError(
    'INPUT_INVALID',
    `“${name}” holds preferences, which do not train yet.`,
    'Take its chosen answers as pairs: `fettle data chosen`, or the button on its page.',
  );
}
