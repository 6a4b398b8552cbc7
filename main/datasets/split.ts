/** @file Which rows are held out: by whole rows and whole documents, chosen by the hash of their content, so that the same data always split the same way. */

/**
 * Which rows are held out: those with the lowest keys until their share is reached; at least one, and never all.
 * @param keys a number from each row's digest.
 */
export function chooseRows(keys: Uint32Array, share: number): (row: number) => boolean {
  const wanted = Math.max(1, Math.min(keys.length - 1, Math.ceil(keys.length * share)));
  const highest = keys.toSorted()[wanted - 1] ?? -1;
  return (row) => keys[row]! <= highest;
}

/** The same for documents, whose share is counted in words: a long one must not take far more than its share. */
export function chooseDocuments(keys: Uint32Array, words: Float32Array, share: number): (document: number) => boolean {
  const total = words.reduce((sum, weight) => sum + weight, 0);
  const order = Uint32Array.from(keys.keys()).sort((a, b) => keys[a]! - keys[b]!);
  const chosen = new Set<number>();
  let weight = 0;
  for (const i of order) {
    if (chosen.size >= keys.length - 1) break;
    const next = weight + words[i]!;
    if (chosen.size > 0 && next > total * share * 1.5) continue;
    chosen.add(i);
    weight = next;
    if (weight >= total * share) break;
  }
  return (document) => chosen.has(document);
}

/** A single document is cut at a paragraph near its end: its tail is held out as a document of its own. Null where it has no paragraph to cut at. */
export function cutTail(text: string, share: number): readonly [string, string] | null {
  const aim = Math.floor(text.length * (1 - share));
  const before = text.lastIndexOf('\n\n', aim);
  const at = before > text.length / 2 ? before : text.indexOf('\n\n', aim);
  if (at <= 0 || at >= text.length - 2) return null;
  const [head, tail] = [text.slice(0, at).trim(), text.slice(at).trim()];
  return head && tail ? [head, tail] : null;
}
