/** @file A set of digests that stays small with millions of rows: 16 bytes each, open addressing, no objects. */

/** The first 128 bits of each SHA-256. Two different rows meet in it with a chance of about n^2 / 2^129: never. */
export class Seen {
  #slots = new Uint32Array(4 * 1024);
  #count = 0;

  /** @param digest at least 16 bytes. @returns false where it was there already. */
  add(digest: Buffer): boolean {
    if (this.#count * 5 > this.#slots.length) this.#grow();
    const words = [0, 4, 8, 12].map((at) => digest.readUInt32LE(at)) as [number, number, number, number];
    // All zero marks a free slot; a digest of zeros does not happen.
    if (!place(this.#slots, ...words)) return false;
    this.#count++;
    return true;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(before.length * 2);
    for (let at = 0; at < before.length; at += 4)
      if (before[at] || before[at + 1] || before[at + 2] || before[at + 3])
        place(this.#slots, before[at]!, before[at + 1]!, before[at + 2]!, before[at + 3]!);
  }
}

function place(slots: Uint32Array, a: number, b: number, c: number, d: number): boolean {
  const mask = slots.length / 4 - 1;
  for (let slot = a & mask; ; slot = (slot + 1) & mask) {
    const at = slot * 4;
    if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d) return false;
    if (!slots[at] && !slots[at + 1] && !slots[at + 2] && !slots[at + 3]) {
      slots[at] = a;
      slots[at + 1] = b;
      slots[at + 2] = c;
      slots[at + 3] = d;
      return true;
    }
  }
}
