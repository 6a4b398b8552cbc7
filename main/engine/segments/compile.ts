/** @file Turns a piece of a model, written forward only, into programs: forward, forward that saves, backward. */
import { gradient } from '../autodiff/gradient.ts';
import { emit, type Program } from '../graph/emit.ts';
import { accumulate, add, concat } from '../graph/ops/index.ts';
import type { Device } from '../graph/op.ts';
import { nodeOf, type Scope, type Shape, type TensorType, type Value } from '../graph/value.ts';

/** Matrices of one width, one under the other: a graphics processor is slow at many small things. */
export interface Stack<T> {
  readonly name: string;
  readonly width: number;
  /** From the top, in the order of their names. */
  readonly members: readonly T[];
  /** Of all together. */
  readonly rows: number;
}

/** All that a segment trains, in stacks. */
export function stacksOf<T extends { readonly name: string; readonly shape: Shape }>(
  matrices: readonly T[],
): Stack<T>[] {
  const sorted = matrices.toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
  return [...Map.groupBy(sorted, ({ shape }) => shape[1]!)].map(([width, members]) => ({
    name: `stack.${width}`,
    width,
    members,
    rows: members.reduce((sum, { shape }) => sum + shape[0]!, 0),
  }));
}

export interface BackwardPiece {
  /** Gives the outputs and `saved`. */
  readonly forward: Program;
  /** From `dy`, `saved` and the forward inputs: `d.NAME` for each name differentiated. */
  readonly backward: Program;
  /** What passes from forward to backward. */
  readonly saved: ReadonlyMap<string, TensorType>;
}

/**
 * Forward and backward programs of `y`. What the backward pass needs of the forward pass is saved where it was slow to
 * compute (or marked `keep`), and computed again from the nearest saved values where it was quick.
 * @param wrt inputs whose gradient is wanted: `d.NAME`.
 * @param added inputs whose gradient is added to what is fed as `g.NAME`: `d.NAME` is the sum. On a graphics processor
 * those of a width are one, the stack's (`stacksOf`).
 */
export function compileWithBackward(
  scope: Scope,
  y: Value,
  wrt: readonly Value[],
  added: readonly Value[],
  device: Device,
): BackwardPiece {
  const grads = gradient(y, scope.input('dy', y.shape), [...wrt, ...added]);
  const outputs = new Map<string, Value>();
  wrt.forEach((v, i) => outputs.set(`d.${inputName(v)}`, grads[i]!));
  const summed = added.map((v, i) => ({ name: inputName(v), shape: v.shape, gradient: grads[wrt.length + i]! }));
  if (device === 'cpu')
    for (const { name, shape, gradient } of summed)
      outputs.set(`d.${name}`, accumulate(scope.input(`g.${name}`, shape), gradient));
  else
    for (const { name, members } of stacksOf(summed)) {
      const all = concat(
        members.map(({ gradient }) => gradient),
        0,
      );
      outputs.set(`d.${name}`, add(scope.input(`g.${name}`, all.shape), all));
    }

  const forwardValues = reachable(y);
  const saved = new Map<Value, string>();
  const seen = new Set<Value>();
  const walk = (v: Value): void => {
    const node = nodeOf(v);
    if (seen.has(v) || !node) return;
    seen.add(v);
    if (forwardValues.has(v) && (v.keep ?? node.op.backward === 'keep')) saved.set(v, `saved.${saved.size}`);
    else node.inputs.forEach(walk);
  };
  for (const v of outputs.values()) walk(v);

  const names = new Map([...saved].map(([v, name]) => [name, v] as const));
  return {
    forward: emit(new Map([['y', y], ...names]), device),
    backward: emit(outputs, device, saved),
    saved: names,
  };
}

export function inputName(v: Value): string {
  if (v.source.kind !== 'input') throw new TypeError('only inputs of a segment have gradients that leave it');
  return v.source.name;
}

function reachable(root: Value): Set<Value> {
  const seen = new Set<Value>();
  const walk = (v: Value): void => {
    if (seen.has(v)) return;
    seen.add(v);
    nodeOf(v)?.inputs.forEach(walk);
  };
  walk(root);
  return seen;
}
