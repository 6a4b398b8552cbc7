/** @file The checks in plain words. */
import type { Check } from '../../../main/contract/entities.ts';

export const CHECKS: Readonly<Record<Check['kind'], { readonly name: string; readonly says: string }>> = {
  exact: { name: 'The very answer', says: 'right where the words are the same' },
  contains: { name: 'Holds the words', says: 'right where the wanted words stand in the answer' },
  number: { name: 'The right number', says: 'right where the last number is the wanted one' },
  choice: { name: 'The right choice', says: 'right where the answer begins with the wanted one' },
  json: { name: 'Valid JSON', says: 'right where it can be read as JSON' },
  length: { name: 'The right length', says: 'right where the number of words lies within what was asked' },
  pattern: { name: 'Fits the pattern', says: 'right where the pattern is found' },
  f1: { name: 'Words shared', says: 'by the words that it shares with the wanted answer (F1)' },
  'rouge-l': { name: 'Words in order', says: 'by the words that it shares with the wanted answer, in order (ROUGE-L)' },
};
