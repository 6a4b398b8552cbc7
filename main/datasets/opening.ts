/** @file A held-out document as a question: its first words, and how it goes on. */

/** Words of a document that a model is to go on from. */
const OPENING_WORDS = 30;

const part = (text: string, from: number, to: number): string =>
  text
    .split(/(?<=\s)/, to)
    .slice(from)
    .join('')
    .trim();

export const openingOf = (text: string): string => part(text, 0, OPENING_WORDS);

/** So many words after the opening. */
export const continuationOf = (text: string, words: number): string => part(text, OPENING_WORDS, OPENING_WORDS + words);
