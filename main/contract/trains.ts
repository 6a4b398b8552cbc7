/** @file Which data train by which strategy. */
import type { DatasetKind } from './entities.ts';
import type { Strategy } from './recipe.ts';

/** Pairs and conversations teach by instruction, prose without; preferences do not train yet. */
export const trainsBy = (kind: DatasetKind): Strategy | null =>
  kind === 'preference' ? null : kind === 'prose' ? 'non-instruct' : 'instruct';
