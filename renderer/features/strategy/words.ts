/** @file The ways of learning, by the names that people read. */
import type { AdviceStrategy } from '../../../main/contract/entities.ts';
import type { Way } from '../../../main/contract/recipe.ts';

interface Words {
  readonly name: string;
  /** For a button: "Use …". */
  readonly use: string;
  /** What is chosen by taking the advice; null where tuning is not advised. */
  readonly choice: Way | null;
}
export const WAYS: Readonly<Record<AdviceStrategy, Words>> = {
  instruct: { name: 'Instruct tuning', use: 'Use instruct tuning', choice: 'instruct' },
  'non-instruct': { name: 'Non-instruct tuning', use: 'Use non-instruct tuning', choice: 'non-instruct' },
  staged: { name: 'Staged: text first, then examples', use: 'Use both stages', choice: 'staged' },
  'do-not-tune': { name: 'Do not tune yet', use: '', choice: null },
};

/** Zones of an axis: what each part of it speaks for. */
export const ZONES = [
  { strategy: 'non-instruct', name: 'non-instruct', upTo: 0.35 },
  { strategy: 'staged', name: 'staged', upTo: 0.65 },
  { strategy: 'instruct', name: 'instruct', upTo: 1 },
] as const;
