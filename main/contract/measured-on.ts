/** @file What the held-out rows of a comparison were, in sentences that the page, the command and the report share. */
import type { BlindTest, ComparisonResult } from './entities.ts';
import { count } from './figures.ts';

type Measured = Pick<ComparisonResult, 'learned' | 'maxLength' | 'suites'>;

/** "held-out (24; data 1f3a), general (504; 1 (9ab2)); greedy, up to 160 tokens an answer, seed 0". */
export function suitesInWords({ suites, decoding }: Pick<ComparisonResult, 'suites' | 'decoding'>): string {
  const named = suites.map(({ name, version, items }) => `${name} (${count(items)}; ${version})`).join(', ');
  const { temperature, maxTokens, seed } = decoding;
  return `${named}; ${temperature === 0 ? 'greedy' : `temperature ${temperature}`}, up to ${count(maxTokens)} tokens an answer, seed ${seed}`;
}

/** None where no row of the project's data was measured on. */
export function rowsInWords({ learned, maxLength, suites }: Measured): string[] {
  if (!suites.some(({ name }) => name === 'held-out' || name === 'task')) return [];
  return [
    ...learnedInWords(learned),
    ...(maxLength === null ? [] : [`Of each held-out row, up to ${count(maxLength)} tokens count for the loss.`]),
  ];
}

/** Of a blind test: without the names, which come at the end. */
export const leftOutOf = ({ learned }: Pick<BlindTest, 'learned'>): string[] =>
  learned ? learnedInWords({ rows: learned.rows, unchecked: learned.known ? [] : ['one of the two'] }) : [];

function learnedInWords(learned: Measured['learned']): string[] {
  if (!learned) return ['Nobody looked whether a compared model had learned from these rows: compare again.'];
  const { rows, unchecked } = learned;
  return [
    rows === 0
      ? ''
      : `${rows === 1 ? 'One held-out row was' : `${count(rows)} held-out rows were`} left out, since a compared model, or a stage under it, was trained on the same content.`,
    unchecked.length === 0
      ? ''
      : `Not all that ${unchecked.join(' and ')} learned from is known here: rows that it has seen may be among them.`,
  ].filter((sentence) => sentence !== '');
}
