/** @file A typed array that grows. */

interface Numbers {
  readonly length: number;
  [index: number]: number;
  set(from: ArrayLike<number>): void;
  subarray(start: number, end: number): this;
}

export class Growing<T extends Numbers> {
  readonly #make: new (length: number) => T;
  #array: T;
  length = 0;

  constructor(make: new (length: number) => T) {
    this.#make = make;
    this.#array = new make(1024);
  }

  push(value: number): void {
    if (this.length === this.#array.length) {
      const before = this.#array;
      this.#array = new this.#make(before.length * 2);
      this.#array.set(before);
    }
    this.#array[this.length++] = value;
  }

  at(index: number): number {
    return this.#array[index] ?? 0;
  }

  /** The numbers so far, without a copy. */
  view(): T {
    return this.#array.subarray(0, this.length);
  }
}
