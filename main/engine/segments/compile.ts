/** @file Turns a piece of a model, written forward only, into programs: forward, forward that saves, backward. */
import { gradient } from '../autodiff/gradient.ts';
import { emit, type Program } from '../graph/emit.ts';
import { accumulate } from '../graph/ops/index.ts';
import type { Device } from '../graph/op.ts';
import { nodeOf, type Scope, type TensorType, type Value } from '../graph/value.ts';

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
 * @param added inputs whose gradient is added to what is fed as `g.NAME`: `d.NAME` is the sum.
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
  added.forEach((v, i) => {
    const known = scope.input(`g.${inputName(v)}`, v.shape);
    outputs.set(`d.${inputName(v)}`, accumulate(known, grads[wrt.length + i]!));
  });

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
