/** @file What a column can become, and a mapping with one column put elsewhere. */

/** Meanings of columns by file. */
export type Maps = Record<string, Record<string, string>>;

export interface MeaningWords {
  readonly id: string;
  readonly label: string;
  /** Shown as a place to drop something even while it is empty. */
  readonly usual: boolean;
}

export const MEANINGS: readonly MeaningWords[] = [
  { id: 'instruction', label: 'Question', usual: true },
  { id: 'input', label: 'More to the question', usual: false },
  { id: 'response', label: 'Answer', usual: true },
  { id: 'system', label: 'System message', usual: false },
  { id: 'messages', label: 'Conversation', usual: false },
  { id: 'tools', label: 'Tools it may call', usual: false },
  { id: 'prompt', label: 'Prompt of a preference', usual: false },
  { id: 'chosen', label: 'Chosen answer', usual: false },
  { id: 'rejected', label: 'Rejected answer', usual: false },
  { id: 'text', label: 'Running text', usual: true },
];

/** A column has one meaning and a meaning one column; what is there makes room. */
export function placed(
  mapping: Readonly<Record<string, string>>,
  column: string,
  meaning: string,
): Record<string, string> {
  const rest = Object.entries(mapping).filter(([other, name]) => name !== column && other !== meaning);
  return Object.fromEntries(meaning === '' ? rest : [...rest, [meaning, column]]);
}
