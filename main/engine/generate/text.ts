/** @file The text of an answer while it grows by a token at a time, of which each is decoded with the few before it. */

/**
 * What a token adds hangs on those just before it alone: the bytes of one character may be several tokens, and the first
 * of a text loses its blank. So the newest tokens are decoded together with those of the last whole character before
 * them, and what these say by themselves is left out.
 */
export class GrowingText {
  readonly #decode: (ids: readonly number[]) => string;
  /** Without what the newest tokens add. */
  #whole = '';
  /** The newest tokens, after those that `#known` is the text of. */
  #recent: number[] = [];
  #before = 0;
  #known = '';

  constructor(decode: (ids: readonly number[]) => string) {
    this.#decode = decode;
  }

  /** @returns the text of all tokens so far; a character that is not whole yet stands at its end as the replacement character. */
  push(id: number): string {
    this.#recent.push(id);
    const recent = this.#decode(this.#recent);
    const text = this.#whole + recent.slice(this.#known.length);
    // Tokens without text, such as special ones, are nothing that the next could lean on.
    if (recent.length > this.#known.length && !recent.endsWith('\uFFFD')) {
      this.#whole = text;
      this.#recent = this.#recent.slice(this.#before);
      this.#before = this.#recent.length;
      this.#known = this.#decode(this.#recent);
    }
    return text;
  }
}
