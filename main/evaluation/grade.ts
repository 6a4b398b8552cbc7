/** @file How near an answer comes to the expected one, by the words that they share. */

/** Scripts that put no spaces between words; a sign goes with the marks on it. */
const UNSPACED = /[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]\p{M}*/gu;
/** Each sign of such a script as a word, since no space says where its words end. */
export const spaced = (text: string): string => text.replace(UNSPACED, ' $& ');

/**
 * Lower case, without punctuation and English articles, as SQuAD's evaluation script normalises (Rajpurkar et al.
 * 2016); signs of scripts without spaces each count as a word, as in CMRC (Cui et al. 2019).
 */
export const normalised = (text: string): string[] =>
  spaced(text.toLowerCase().replace(/[\p{P}\p{S}]/gu, ''))
    .replace(/(?<![\p{L}\p{N}])(?:a|an|the)(?![\p{L}\p{N}])/gu, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');

/** Token F1 as SQuAD defines it: the harmonic mean of precision and recall over words, each counted as often as it occurs, 0 to 1. */
export function tokenF1(answer: string, expected: string): number {
  const [said, wanted] = [normalised(answer), normalised(expected)];
  if (said.length === 0 || wanted.length === 0) return Number(said.length === wanted.length);
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of said) {
    const times = left.get(word) ?? 0;
    if (times === 0) continue;
    left.set(word, times - 1);
    common++;
  }
  if (common === 0) return 0;
  const [precision, recall] = [common / said.length, common / wanted.length];
  return (2 * precision * recall) / (precision + recall);
}

export const exactMatch = (answer: string, expected: string): boolean =>
  normalised(answer).join(' ') === normalised(expected).join(' ');
