/** @file Reverse mode: the gradient of a value with respect to others, as more graph (Griewank & Walther 2008, chapter 3). */
import { accumulate } from '../graph/ops/index.ts';
import { nodeOf, sameShape, ShapeError, type Node, type Value } from '../graph/value.ts';

/**
 * Cotangents of `wrt` for the cotangent `dy` of `y` (of the same shape).
 * Throws ShapeError where `y` does not depend on one of `wrt`, or the way to it has no gradient.
 */
export function gradient(y: Value, dy: Value, wrt: readonly Value[]): Value[] {
  if (!sameShape(y.shape, dy.shape)) throw new ShapeError('gradient', 'the cotangent has another shape', [y, dy]);
  const needed = dependents(wrt);
  const cotangents = new Map<Value, Value>([[y, dy]]);
  const receive = (v: Value, d: Value | undefined): void => {
    if (!d || !needed(v)) return;
    if (!sameShape(v.shape, d.shape)) throw new ShapeError('gradient', 'a cotangent has another shape', [v, d]);
    const known = cotangents.get(v);
    cotangents.set(v, known ? accumulate(known, d) : d);
  };
  for (const unit of unitsFrom(y, needed)) {
    if ('outputs' in unit) {
      const dys = unit.outputs.map((o) => cotangents.get(o));
      if (dys.every((d) => d === undefined)) continue;
      const ds = unit.op.vjp(unit, dys);
      unit.inputs.forEach((x, i) => receive(x, ds[i]));
    } else {
      const d = cotangents.get(unit);
      if (!d) continue;
      const ds = unit.vjp!.pull(d);
      unit.vjp!.inputs.forEach((x, i) => receive(x, ds[i]));
    }
  }
  return wrt.map((v) => {
    const d = cotangents.get(v);
    if (!d) throw new ShapeError('gradient', 'no gradient reaches a value that should be trained', [v]);
    return d;
  });
}

/** Gives `y` its own way back to `inputs`, in place of the ops that computed it. */
export function withVjp(y: Value, inputs: readonly Value[], pull: (dy: Value) => readonly Value[]): Value {
  y.vjp ??= { inputs, pull };
  return y;
}

/** Marks a value to be saved for the backward pass even though its op is cheap. */
export function keep(v: Value): Value {
  v.keep = true;
  return v;
}

const parents = (v: Value): readonly Value[] => v.vjp?.inputs ?? nodeOf(v)?.inputs ?? [];

/** Whether a value depends on any of `wrt`. */
function dependents(wrt: readonly Value[]): (v: Value) => boolean {
  const known = new Map<Value, boolean>(wrt.map((v) => [v, true]));
  const needed = (v: Value): boolean => {
    let n = known.get(v);
    if (n === undefined) known.set(v, (n = parents(v).some(needed)));
    return n;
  };
  return needed;
}

/** What is pulled once, each after all that use it: a node with all its results, or a value with its own way back. */
function unitsFrom(y: Value, needed: (v: Value) => boolean): (Value | Node)[] {
  const order: (Value | Node)[] = [];
  const seen = new Set<Value | Node>();
  const visit = (v: Value): void => {
    const unit = v.vjp ? v : nodeOf(v);
    if (!unit || seen.has(unit) || !needed(v)) return;
    seen.add(unit);
    parents(v).forEach(visit);
    order.push(unit);
  };
  visit(y);
  return order.reverse();
}
