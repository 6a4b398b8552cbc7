/** @file The checks in plain words: names for people, what each calls right, and what it asks for. */
import type { Check } from './entities.ts';

export const CHECKS: Readonly<
  Record<Check['kind'], { readonly name: string; readonly says: string; readonly detail?: string }>
> = {
  exact: { name: 'The very answer', says: 'right where the words are the same' },
  contains: {
    name: 'Holds the words',
    says: 'right where the words stand in the answer',
    detail: 'Words; empty: the wanted answer',
  },
  number: { name: 'The right number', says: 'right where the last number is the wanted one' },
  choice: { name: 'The right choice', says: 'right where the answer begins with the wanted one' },
  json: {
    name: 'Valid JSON',
    says: 'right where it can be read as JSON, and fits the schema if there is one',
    detail: 'JSON schema; empty: any JSON',
  },
  length: { name: 'The right length', says: 'right where the number of words lies within' },
  pattern: { name: 'Fits the pattern', says: 'right where the pattern is found', detail: 'Regular expression' },
  f1: { name: 'Words shared', says: 'by the words that it shares with the wanted answer (F1)' },
  'rouge-l': { name: 'Words in order', says: 'by the words that it shares with the wanted answer, in order (ROUGE-L)' },
};

/** "Holds the words: kind regards". */
export const checkName = ({ kind, text, least, most }: Check): string => {
  const { name } = CHECKS[kind];
  if (kind === 'length') return `${name}: ${[least ?? 0, most ?? 'any'].join(' to ')} words`;
  return text && kind !== 'json' ? `${name}: ${text.length > 32 ? `${text.slice(0, 32)}…` : text}` : name;
};
