/** @file How varied prose is: different words in 1,000, and how much of it stood there before. Read once, in bounded memory. */
import type { StoredRow } from '../datasets/rows.ts';

export interface ProseEvidence {
  /** Words that were looked at. */
  readonly words: number;
  /** Different words in 1,000, the mean over whole windows of 1,000 (the standardised type-token ratio); null where there is no whole one. */
  readonly types: number | null;
  /** Share of the five-word sequences that had occurred before, 0 to 1. */
  readonly repeated: number;
}

const WINDOW = 1000;
const SEQUENCE = 5;
/** Of longer texts documents are left out evenly: a second of work, and as good an estimate. */
const LOOKED_AT = 1_000_000;
/** Sequences remembered; beyond it every second hash is forgotten, which leaves the shares as they are. */
const REMEMBERED = 1 << 19;

/** Keeps counts of a sample of all sequences that is chosen by hash, so that a sequence is counted always or never. */
class Repeats {
  #mask = 0;
  #seen = new Map<number, number>();

  add(hash: number): void {
    if ((hash & this.#mask) !== 0) return;
    this.#seen.set(hash, (this.#seen.get(hash) ?? 0) + 1);
    if (this.#seen.size <= REMEMBERED) return;
    this.#mask = this.#mask * 2 + 1;
    this.#seen = new Map([...this.#seen].filter(([each]) => (each & this.#mask) === 0));
  }

  get share(): number {
    let all = 0;
    for (const times of this.#seen.values()) all += times;
    return all === 0 ? 0 : (all - this.#seen.size) / all;
  }
}

/** FNV-1a of a word, 32 bits. */
function hashOf(word: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
  return hash;
}

/** @param total words of the whole dataset, to know how much to leave out. */
export async function measureProse(rows: AsyncIterable<StoredRow>, total: number): Promise<ProseEvidence> {
  const every = Math.max(1, Math.ceil(total / LOOKED_AT));
  const repeats = new Repeats();
  let window = new Set<string>();
  let [words, inWindow, windows, types, document] = [0, 0, 0, 0, 0];
  for await (const { text } of rows) {
    if (text === undefined || document++ % every !== 0) continue;
    const last: number[] = [];
    for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu)) {
      if (words === LOOKED_AT) break;
      words++;
      window.add(word);
      if (++inWindow === WINDOW) {
        types += window.size;
        windows++;
        window = new Set();
        inWindow = 0;
      }
      // A sequence never goes over the end of a document.
      if (last.length === SEQUENCE) last.shift();
      last.push(hashOf(word));
      if (last.length === SEQUENCE) repeats.add(sequenceHash(last));
    }
    if (words === LOOKED_AT) break;
  }
  return { words, types: windows === 0 ? null : types / windows, repeated: repeats.share };
}

/** Mixed to the end, since the sample is chosen by the lowest bits (finaliser of MurmurHash3, Appleby). */
function sequenceHash(hashes: readonly number[]): number {
  let hash = 0;
  for (const each of hashes) hash = Math.imul(hash, 31) + each;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
