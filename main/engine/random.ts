/** @file Seeded random numbers: xoshiro128** (Blackman & Vigna 2018), seeded through splitmix32. The same seed gives the same numbers everywhere. */

/** A generator of which a seed is all that has to be kept. */
export class Random {
  readonly #s: Uint32Array;

  /** @param seed any integer; its low 32 bits count. */
  constructor(seed: number) {
    this.#s = new Uint32Array(4);
    // splitmix32: four different words from one seed, never all zero.
    let z = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0;
      let t = z ^ (z >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      this.#s[i] = (t ^ (t >>> 15)) >>> 0;
    }
  }

  /** 32 random bits as an unsigned integer. */
  bits(): number {
    const s = this.#s;
    const [s0, s1, s2, s3] = [s[0]!, s[1]!, s[2]!, s[3]!];
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const a = s2 ^ s0;
    const b = s3 ^ s1;
    s[0] = s0 ^ b;
    s[1] = s1 ^ a;
    s[2] = a ^ (s1 << 9);
    s[3] = rotateLeft(b, 11);
    return result;
  }

  /** Uniform in [0, 1), with 53 random bits. */
  next(): number {
    const high = this.bits() >>> 5;
    const low = this.bits() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Uniform integer in [0, n), for n from 1 to 2^53. */
  int(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** Standard normal, by Box and Muller (1958); the second of the pair is dropped, so that each takes two draws. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    return radius * Math.cos(2 * Math.PI * this.next());
  }
}

const rotateLeft = (x: number, k: number): number => (x << k) | (x >>> (32 - k));
