/** @file How words are chosen, in words and as the form holds it. */
import type { Sampling } from '../../../main/contract/entities.ts';
import { count } from '../../ui/format.ts';

export const USUAL: Sampling = { maxTokens: 128, temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };

/** "greedy, 256 at most", "temperature 0.7, seed 3, 128 at most". */
export function decodingInWords(sampling: Sampling): string {
  const { temperature, topP, topK, repetitionPenalty, seed, maxTokens } = sampling;
  return [
    ...(temperature === 0
      ? ['greedy']
      : [
          `temperature ${temperature}`,
          ...(topP < 1 ? [`top-p ${topP}`] : []),
          ...(topK > 0 ? [`top-k ${topK}`] : []),
          `seed ${seed}`,
        ]),
    ...(repetitionPenalty === 1 ? [] : [`penalty ${repetitionPenalty}`]),
    `${count(maxTokens)} at most`,
  ].join(', ');
}

/** The fields of the form, in their order. */
export const FIELDS: readonly {
  readonly key: keyof Sampling;
  readonly label: string;
  readonly term: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
}[] = [
  { key: 'temperature', label: 'Freedom', term: 'temperature', min: 0, max: 5, step: 0.1 },
  { key: 'maxTokens', label: 'Longest answer, tokens', term: 'max tokens', min: 1, max: 4096, step: 1 },
  { key: 'topP', label: 'Likely words only', term: 'top-p', min: 0.01, max: 1, step: 0.01 },
  { key: 'topK', label: 'So many words only', term: 'top-k', min: 0, max: 100000, step: 1 },
  { key: 'repetitionPenalty', label: 'Less repeating', term: 'penalty', min: 0.1, max: 10, step: 0.05 },
  { key: 'seed', label: 'Chance', term: 'seed', min: 0, max: 4294967295, step: 1 },
];

/** A value within its bounds, else the usual one: a field that was emptied asks for nothing. */
export function within(key: keyof Sampling, value: number): number {
  const field = FIELDS.find((each) => each.key === key)!;
  if (!Number.isFinite(value)) return USUAL[key];
  const bounded = Math.min(field.max, Math.max(field.min, value));
  return field.step >= 1 ? Math.round(bounded) : bounded;
}
