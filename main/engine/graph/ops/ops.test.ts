/**
 * @file Every op of the table, by its cases: its shape rule against the runtime's, for each of its results; its numbers as
 * the CPU has them in float32 against the same in float64, written with plain operators; and its way back against finite
 * differences in float64.
 */
import { Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { inDouble, runDouble } from '../../../../test/support/double.ts';
import { relativeError } from '../../../../test/support/numbers.ts';
import { gradient, keep, withVjp } from '../../autodiff/gradient.ts';
import { Random } from '../../random.ts';
import { Session, tensor, type Tensors } from '../../segments/session.ts';
import { emit } from '../emit.ts';
import { nodeOf, Scope, sizeOf, type Node, type TensorType, type Value } from '../value.ts';
import { CASES } from './cases.ts';
import { OPS, reshape, transpose } from './index.ts';

/** Of a central difference in float64: its own error is the square of this. */
const EPSILON = 1e-4;
/** Of a derivative along a direction, relative where it is large. */
const DIFFERENCE = 1e-6;
/** Of float32 against float64, relative in norm. */
const FLOAT32 = 1e-5;

type Numbers = Float32Array | Float64Array | Uint8Array;
const empty = ({ shape, dtype }: TensorType): Tensor =>
  dtype === 'float32'
    ? tensor(new Float32Array(sizeOf(shape)), shape)
    : new Tensor('uint8', new Uint8Array(sizeOf(shape)), shape);

/** The runtime refuses a place for a result whose shape is not what its own rule gives. */
async function run(outputs: ReadonlyMap<string, Value>, feeds: Tensors): Promise<Record<string, Numbers>> {
  const session = await Session.create(emit(outputs, 'cpu'), { device: 'cpu', threads: 1 });
  const into = Object.fromEntries([...outputs].map(([name, type]) => [name, empty(type)]));
  await session.run([feeds], into);
  await session.release();
  return Object.fromEntries(Object.entries(into).map(([name, { data }]) => [name, (data as Float32Array).slice()]));
}

/** The given values, and every result of the given ops on the way to them. */
function withResults(outputs: ReadonlyMap<string, Value>, ops: readonly string[]): Map<string, Value> {
  const results = new Map(outputs);
  const known = new Set(outputs.values());
  const seen = new Set<Node>();
  const visit = (v: Value): void => {
    const node = nodeOf(v);
    if (!node || seen.has(node)) return;
    seen.add(node);
    node.inputs.forEach(visit);
    if (!ops.includes(node.op.name)) return;
    for (const [i, result] of node.outputs.entries())
      if (!known.has(result)) results.set(`${node.op.name}.${seen.size}.${i}`, result);
  };
  [...outputs.values()].forEach(visit);
  return results;
}
const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

describe('the op table', () => {
  it('has a case for every op', () => {
    const covered = new Set(Object.values(CASES).flatMap(({ ops }) => ops));
    expect(OPS.map(({ name }) => name).filter((name) => !covered.has(name))).toEqual([]);
  });

  it('passes over a shape that nobody looks at, and no other', () => {
    const scope = new Scope();
    const x = scope.input('x', [2, 6]);
    const madeOf = (v: Value): Value => nodeOf(v)!.inputs[0]!;
    expect(madeOf(reshape(reshape(x, [3, 4]), [12]))).toBe(x);
    expect(reshape(transpose(reshape(x, [2, 1, 6]), [1, 0, 2]), [2, 6])).toBe(x);
    const kept = keep(reshape(x, [4, 3]));
    const own = withVjp(reshape(x, [6, 2]), [x], (dy) => [reshape(dy, [2, 6])]);
    for (const seen of [kept, own]) expect(madeOf(reshape(seen, [12]))).toBe(seen);
  });

  it('has its shapes from a runtime that refuses others', async () => {
    const scope = new Scope();
    const y: Value = { ...scope.input('x', [2, 3]), shape: [3, 2] };
    await expect(run(new Map([['y', y]]), { x: tensor(new Float32Array(6), [2, 3]) })).rejects.toThrow();
  });

  it.each(Object.entries(CASES))('%s', async (_, { ops, inputs, build, fed = {}, forwardOnly }) => {
    const random = new Random(3);
    const some = (shape: readonly number[]): Float64Array =>
      // As float32 has them: both see the same numbers.
      Float64Array.from({ length: sizeOf(shape) }, () => Math.fround(random.normal()));
    const scope = new Scope();
    const values = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, scope.input(name, shape)]));
    const y = build(scope, values);
    const points = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, some(shape)]));
    const single = (at: Readonly<Record<string, Float64Array>>): Tensors => ({
      ...fed,
      ...Object.fromEntries(
        Object.entries(at).map(([name, data]) => [name, tensor(Float32Array.from(data), scope.declared(name).shape)]),
      ),
    });
    const weights = some(y.shape);
    const gradients = forwardOnly ? [] : gradient(y, scope.input('dy', y.shape), Object.values(values));
    const back = gradients.map((d, i) => [`d.${Object.keys(inputs)[i]}`, d] as const);
    const results = withResults(new Map([['y', y], ...back]), ops);
    expect(ops.filter((op) => ![...results.values()].some((v) => nodeOf(v)?.op.name === op))).toEqual([]);

    const exact = await runDouble(await inDouble(results), { ...points, ...fed, dy: weights });
    const got = await run(results, single({ ...points, ...(forwardOnly ? {} : { dy: weights }) }));
    for (const [name, wanted] of Object.entries(exact)) {
      expect(wanted.every(Number.isFinite), name).toBe(true);
      expect(relativeError(got[name]!, wanted), name).toBeLessThan(FLOAT32);
    }
    if (forwardOnly) return;
    const forward = await inDouble(new Map([['y', y]]));
    for (const [name, shape] of Object.entries(inputs)) {
      const direction = some(shape);
      const moved = async (by: number): Promise<number> => {
        const at = { ...points, [name]: points[name]!.map((x, i) => x + by * direction[i]!) };
        return dot((await runDouble(forward, { ...at, ...fed }))['y'] as Float64Array, weights);
      };
      const wanted = ((await moved(EPSILON)) - (await moved(-EPSILON))) / (2 * EPSILON);
      const along = dot(exact[`d.${name}`] as Float64Array, direction);
      expect(Math.abs(along - wanted) / Math.max(1, Math.abs(wanted)), name).toBeLessThan(DIFFERENCE);
    }
  });
});
