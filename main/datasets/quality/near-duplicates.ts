/** @file Near duplicates by MinHash (Broder 1997) and banding (Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, 3.4), in 64 bytes a row. */

/** Two rows whose sets of shingles overlap by that much (Jaccard) say the same thing. */
export const SIMILAR = 0.8;
const HASHES = 32;
const BAND = 4;
const BANDS = HASHES / BAND;
/** Words in a shingle. */
const SHINGLE = 3;
/** A pair is compared exactly where its estimate comes so near: 32 hashes are off by 0.07 and more. */
const WORTH_A_LOOK = SIMILAR - 0.2;

/** Odd multipliers and offsets of the hash family x -> (a x + b) mod 2^32, fixed, so that the same rows always meet. */
const FAMILY = Array.from(
  { length: HASHES },
  (_, i) => [(Math.imul(i + 1, 0x9e3779b1) | 1) >>> 0, Math.imul(i + 7, 0x85ebca6b) >>> 0] as const,
);

/** Hashes of three words in a row; words are runs of letters and digits, in lower case, and each sign of a script without spaces is one. */
export function shingles(text: string): Uint32Array {
  const words: number[] = [];
  let hash = 0;
  const end = (): void => {
    if (hash !== 0) words.push(hash);
    hash = 0;
  };
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code >= 65 && code <= 90) code += 32;
    const wide = code >= 0x2e80;
    const inWord = (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code >= 0xc0;
    if (!inWord || wide) end();
    if (inWord) hash = Math.imul((hash || 0x811c9dc5) ^ code, 0x01000193);
    if (wide) end();
  }
  end();
  if (words.length === 0) return new Uint32Array(0);
  const length = Math.max(1, words.length - SHINGLE + 1);
  const out = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    let joined = 0;
    for (let k = i; k < Math.min(words.length, i + SHINGLE); k++)
      joined = Math.imul(joined ^ words[k]!, 0x5bd1e995) ^ (joined >>> 15);
    out[i] = joined;
  }
  return out;
}

/** Share of shingles that two texts have in common, 0 to 1. */
export function jaccard(a: Uint32Array, b: Uint32Array): number {
  const [left, right] = [new Set(a), new Set(b)];
  let common = 0;
  for (const shingle of left) if (right.has(shingle)) common++;
  const all = left.size + right.size - common;
  return all === 0 ? 0 : common / all;
}

/** The signatures of all rows; then the groups of those that are alike. */
export class NearDuplicates {
  #signatures = new Uint16Array(HASHES * 1024);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(text: string): void {
    if (this.#signatures.length < (this.#count + 1) * HASHES) {
      const before = this.#signatures;
      this.#signatures = new Uint16Array(before.length * 2);
      this.#signatures.set(before);
    }
    const found = shingles(text);
    const at = this.#count++ * HASHES;
    for (let h = 0; h < HASHES; h++) {
      const [a, b] = FAMILY[h]!;
      let least = 0xffffffff;
      for (const shingle of found) {
        const value = (Math.imul(shingle, a) + b) >>> 0;
        if (value < least) least = value;
      }
      // b-bit minwise hashing (Li & König 2010): the middle bits are enough, and a quarter of the memory.
      this.#signatures[at + h] = (least >>> 8) & 0xffff;
    }
  }

  /**
   * For each row the first of the rows that it is alike with; itself where there is none.
   * @param alike compares two rows exactly; asked only where their signatures say that it is worth it.
   */
  async groups(
    alike: (a: number, b: number) => Promise<boolean>,
    onBand: (share: number) => void = () => undefined,
  ): Promise<Int32Array> {
    const parent = Int32Array.from({ length: this.#count }, (_, i) => i);
    const root = (i: number): number => {
      while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!;
      return i;
    };
    const slots = 2 ** Math.ceil(Math.log2(Math.max(16, this.#count * 2)));
    const first = new Int32Array(slots);
    for (let band = 0; band < BANDS; band++) {
      first.fill(-1);
      for (let row = 0; row < this.#count; row++) {
        const other = this.#meet(first, row, band * BAND);
        if (other < 0 || root(other) === root(row) || this.#estimate(row, other) < WORTH_A_LOOK) continue;
        if (!(await alike(other, row))) continue;
        const [a, b] = [root(other), root(row)];
        parent[Math.max(a, b)] = Math.min(a, b);
      }
      onBand((band + 1) / BANDS);
    }
    return parent.map((_, i) => root(i));
  }

  /** The first row with the same band, or -1 and this one becomes the first. */
  #meet(first: Int32Array, row: number, from: number): number {
    const signatures = this.#signatures;
    const at = row * HASHES + from;
    let key = 0;
    for (let k = 0; k < BAND; k++) key = Math.imul(key ^ signatures[at + k]!, 0x9e3779b1) ^ (key >>> 13);
    for (let slot = key & (first.length - 1); ; slot = (slot + 1) & (first.length - 1)) {
      const other = first[slot]!;
      if (other < 0) {
        first[slot] = row;
        return -1;
      }
      const there = other * HASHES + from;
      let same = true;
      for (let k = 0; k < BAND && same; k++) same = signatures[there + k] === signatures[at + k];
      if (same) return other;
    }
  }

  #estimate(a: number, b: number): number {
    let same = 0;
    for (let h = 0; h < HASHES; h++) if (this.#signatures[a * HASHES + h] === this.#signatures[b * HASHES + h]) same++;
    return same / HASHES;
  }
}
