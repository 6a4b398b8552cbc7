/** @file Giving an array's memory back at once. */

/**
 * To the collector an array of 100 MB is a small object, and it lets many of them pile up. Whoever made one and is done
 * with it says so here; whatever still looks at it finds it empty.
 */
export function discard(array: ArrayBufferView): void {
  if (array.buffer instanceof ArrayBuffer && !array.buffer.detached) array.buffer.transferToFixedLength(0);
}

/** What was made of an array, which is then given back where the result does not lie in it. */
export function madeOf<A extends ArrayBufferView, B extends ArrayBufferView>(array: A, make: (array: A) => B): B {
  const made = make(array);
  if (made.buffer !== array.buffer) discard(array);
  return made;
}
