/** @file Which rows are held out: by whole rows and whole documents, chosen by the hash of their content, so that the same data always split the same way. */

export interface Splittable {
  /** Hex digest of the content. */
  readonly digest: string;
  /** What the share is counted in: 1 for a row, words for a document. */
  readonly weight: number;
}

/** Indices of the held-out items: the lowest digests until their weight reaches the share; at least one, and never all. */
export function chooseHeldOut(items: readonly Splittable[], share: number): Set<number> {
  const total = items.reduce((sum, item) => sum + item.weight, 0);
  const order = items.map((_, i) => i).sort((a, b) => (items[a]!.digest < items[b]!.digest ? -1 : 1));
  const chosen = new Set<number>();
  let weight = 0;
  for (const i of order) {
    if (chosen.size >= items.length - 1) break;
    const next = weight + items[i]!.weight;
    // A long document must not take far more than the share when a shorter one comes next.
    if (chosen.size > 0 && next > total * share * 1.5) continue;
    chosen.add(i);
    weight = next;
    if (weight >= total * share) break;
  }
  return chosen;
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
