/** @file For tests: models and measurements that need no model. */
import type { Situation } from './situation.ts';

export const modelOf = (kind: 'base' | 'instruct' | 'bare'): NonNullable<Situation['model']> => ({
  name: 'A model',
  kind: { value: kind === 'instruct' ? 'instruct' : 'base', evidence: [] },
  hasChatTemplate: kind !== 'bare',
});

interface Grades {
  readonly f1: number;
  readonly low?: number;
  readonly high?: number;
  readonly asked?: number;
  readonly exact?: number;
}

/** A model whose own answers share that much with the expected ones. */
export const measuredWith = ({
  f1,
  low = f1 - 0.05,
  high = Math.min(1, f1 + 0.05),
  asked = 12,
  exact = 0,
}: Grades): NonNullable<Situation['measured']> => ({
  model: 'm',
  dataset: 'd',
  at: '2026-01-01T00:00:00Z',
  rows: 20,
  loss: { value: 1, low: 0.9, high: 1.1 },
  f1: { value: f1, low, high },
  exact,
  answers: Array.from({ length: asked }, () => ({ prompt: 'q', expected: 'e', answer: 'a', f1 })),
});
