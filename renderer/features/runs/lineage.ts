/** @file How a run came to be, in a few words. */
import type { Run } from '../../../main/contract/entities.ts';
import { capital } from '../../ui/format.ts';

export function howItLearned({ strategy, recipe, imported }: Pick<Run, 'strategy' | 'recipe' | 'imported'>): string {
  if (recipe?.method === 'full' && strategy !== null) return `${capital(strategy)}, all weights`;
  const rank = imported?.rank ?? recipe?.rank;
  return `${strategy === null ? 'Made elsewhere' : capital(strategy)}${rank === undefined ? '' : `, LoRA rank ${rank}`}`;
}
