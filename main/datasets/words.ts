/** @file The steps that made a version, in words. */
import type { Mark, PersonalKind } from '../contract/entities.ts';
import type { Derived } from './derive.ts';
import type { ImportedVersion } from './import.ts';
import { PERSONAL_WORDS } from './quality/personal.ts';

const count = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

export function importInWords({ files, rows, dropped }: Pick<ImportedVersion, 'files' | 'rows' | 'dropped'>): string {
  const left = dropped.reduce((sum, it) => sum + it.count, 0);
  const read = files.filter((file) => !file.error).length;
  return `${count(rows, 'row')} from ${count(read, 'file')}${left > 0 ? `; ${count(left, 'row')} left out` : ''}`;
}

export function cleaningInWords(
  { left }: Derived,
  drop: readonly Mark[],
  longerThan: { readonly tokens: number } | undefined,
): string {
  const why = [...drop, ...(longerThan ? [`longer than ${longerThan.tokens} tokens`] : [])].join(', ');
  return `Cleaned: ${count(left, 'row')} left out (${why || 'nothing chosen'})`;
}

export function changesInWords({ changed, added, left }: Derived): string {
  const parts = [
    changed > 0 ? `${count(changed, 'row')} changed` : '',
    added > 0 ? `${count(added, 'row')} added` : '',
    left > 0 ? `${count(left, 'row')} removed` : '',
  ].filter((part) => part !== '');
  return `By hand: ${parts.join(', ') || 'nothing changed'}`;
}

export const masksInWords = ({ masked }: Derived, kinds: readonly PersonalKind[]): string =>
  `Masked ${count(masked, 'find')}: ${kinds.map((kind) => `${PERSONAL_WORDS[kind]}s`).join(', ')}`;
