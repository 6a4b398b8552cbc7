/** @file ROUGE-L (Lin 2004): the longest sequence of words that two texts have in common, in order. As rouge-score gives it without stemming. */

/** rouge-score's tokens: lower case letters and digits of ASCII. */
const tokens = (text: string): string[] =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, ' ')
    .split(' ')
    .filter((word) => word !== '');

/** Whether most of a text's letters and digits are ones that ROUGE sees; Cyrillic, Greek or Chinese are not. */
export function rougeReads(text: string): boolean {
  const all = text.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
  return (text.match(/[a-z0-9]/gi)?.length ?? 0) * 2 >= all;
}

/** F-measure, 0 to 1. Texts of other scripts than Latin have no tokens here and score 0: `rougeReads` says so before. */
export function rougeL(answer: string, expected: string): number {
  const [said, wanted] = [tokens(answer), tokens(expected)];
  if (said.length === 0 || wanted.length === 0) return 0;
  const common = longestCommon(said, wanted);
  if (common === 0) return 0;
  const [precision, recall] = [common / said.length, common / wanted.length];
  return (2 * precision * recall) / (precision + recall);
}

/** One row of the table at a time. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  let above = new Uint32Array(b.length + 1);
  for (const word of a) {
    const row = new Uint32Array(b.length + 1);
    for (const [j, other] of b.entries())
      row[j + 1] = word === other ? above[j]! + 1 : Math.max(above[j + 1]!, row[j]!);
    above = row;
  }
  return above[b.length]!;
}
