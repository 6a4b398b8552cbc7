/** @file A set of digests that stays small with millions of rows: 12 bytes each, open addressing, no objects. */

/** Words of 32 bits that are kept of each digest. */
const WORDS = 3;

/** The first 96 bits of each SHA-256. Ten million different rows meet in it with a chance of about 10^-15. */
export class Seen {
  #slots = new Uint32Array(WORDS * 1024);
  #count = 0;

  /** @param digest at least 12 bytes. @returns false where it was there already. */
  add(digest: Buffer): boolean {
    // Four fifths full is as full as it gets.
    if (this.#count * 5 * WORDS > this.#slots.length * 4) this.#grow();
    if (!place(this.#slots, digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8))) return false;
    this.#count++;
    return true;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(before.length * 2);
    for (let at = 0; at < before.length; at += WORDS)
      if (before[at] || before[at + 1] || before[at + 2])
        place(this.#slots, before[at]!, before[at + 1]!, before[at + 2]!);
  }
}

/** All zero marks a free slot; a digest of zeros does not happen. */
function place(slots: Uint32Array, a: number, b: number, c: number): boolean {
  const mask = slots.length / WORDS - 1;
  for (let slot = a & mask; ; slot = (slot + 1) & mask) {
    const at = slot * WORDS;
    if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c) return false;
    if (!slots[at] && !slots[at + 1] && !slots[at + 2]) {
      slots[at] = a;
      slots[at + 1] = b;
      slots[at + 2] = c;
      return true;
    }
  }
}
