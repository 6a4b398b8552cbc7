/** @file The elements of a large JSON array, cut out of the bytes one by one: none is held longer than it is read, and one that is too long costs only itself. */

const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;
const LIST = 91;
const LIST_END = 93;
const opens = (byte: number): boolean => byte === LIST || byte === 123;
const closes = (byte: number): boolean => byte === LIST_END || byte === 125;
const isSpace = (byte: number): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9;

/** An element's bytes, or that it was too long. */
export type Element = Buffer | 'too long';

/**
 * Cuts `[a, b]`, and with `depth` 2 the lists within `{"data": [a, b]}`. Only brackets, commas and quotes matter, which are single
 * bytes in every encoding that a file may have here.
 */
export class Elements {
  readonly #depth: number;
  readonly #longest: number;
  #level = 0;
  #inString = false;
  #escaped = false;
  /** Within a list whose elements are wanted. */
  #inList = false;
  #parts: Buffer[] = [];
  #length = 0;
  #tooLong = false;
  #begun = false;

  constructor({ depth, longest }: { readonly depth: 1 | 2; readonly longest: number }) {
    this.#depth = depth;
    this.#longest = longest;
  }

  /** True where every bracket was closed. */
  get whole(): boolean {
    return this.#level === 0 && !this.#inString;
  }

  /** The elements that end in this piece. */
  more(piece: Buffer): Element[] {
    const found: Element[] = [];
    let from = 0;
    const end = (at: number): void => {
      this.#take(piece.subarray(from, at));
      if (this.#begun) found.push(this.#tooLong ? 'too long' : Buffer.concat(this.#parts));
      this.#parts = [];
      this.#length = 0;
      this.#tooLong = this.#begun = false;
    };
    for (let at = 0; at < piece.length; at++) {
      if (this.#inString) {
        at = this.#endOfString(piece, at);
        continue;
      }
      const byte = piece[at]!;
      if (this.#inList && this.#level === this.#depth && (byte === COMMA || byte === LIST_END)) {
        end(at);
        from = at + 1;
      } else if (this.#inList && !this.#begun && !isSpace(byte)) {
        this.#begun = true;
        from = at;
      }
      if (byte === QUOTE) this.#inString = true;
      else if (opens(byte)) {
        this.#level++;
        if (this.#level === this.#depth && byte === LIST && !this.#inList) {
          this.#inList = true;
          from = at + 1;
        }
      } else if (closes(byte)) {
        this.#level--;
        if (this.#level < this.#depth) this.#inList = false;
      }
    }
    if (this.#begun) this.#take(piece.subarray(from));
    return found;
  }

  /** Where the string ends in this piece; behind it where it goes on. A quote ends it that no odd number of backslashes stands before. */
  #endOfString(piece: Buffer, start: number): number {
    const isEscaped = (at: number): boolean => {
      let first = at;
      while (first > start && piece[first - 1] === BACKSLASH) first--;
      return (at - first + (first === start && this.#escaped ? 1 : 0)) % 2 === 1;
    };
    for (let at = piece.indexOf(QUOTE, start); at >= 0; at = piece.indexOf(QUOTE, at + 1)) {
      if (isEscaped(at)) continue;
      this.#inString = this.#escaped = false;
      return at;
    }
    this.#escaped = isEscaped(piece.length);
    return piece.length;
  }

  #take(part: Buffer): void {
    if (!this.#begun || this.#tooLong) return;
    this.#length += part.length;
    if (this.#length > this.#longest) {
      this.#tooLong = true;
      this.#parts = [];
    } else this.#parts.push(part);
  }
}

/** Whether brackets nest deeper than so far: what is walked through by recursion must not. */
export function nestsDeeper(text: string, limit: number): boolean {
  // So many brackets need so many characters, and as many to close them.
  if (text.length < limit * 2) return false;
  let level = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = text.indexOf('"', at + 1);
      while (at >= 0 && backslashes(text, at) % 2 === 1) at = text.indexOf('"', at + 1);
      if (at < 0) return false;
    } else if (opens(code)) {
      if (++level > limit) return true;
    } else if (closes(code)) level--;
  }
  return false;
}

function backslashes(text: string, before: number): number {
  let at = before;
  while (text.charCodeAt(at - 1) === BACKSLASH) at--;
  return before - at;
}
