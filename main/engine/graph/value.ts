/** @file Symbolic tensors and the scope they live in. Within a scope, equal work is one value (hash-consing). */
import type { ElementType } from '../../formats/onnx/build.ts';
import type { Op } from './op.ts';

export type Shape = readonly number[];
export type DType = ElementType;
export type Attrs = Readonly<Record<string, number | readonly number[]>>;

export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A tensor that will exist when the graph runs. */
export interface Value extends TensorType {
  readonly scope: Scope;
  /** Unique within the scope. */
  readonly id: number;
  readonly source: Source;
  /** A shorter way back than through the ops that computed this value. */
  vjp?: CustomVjp;
  /** Saved for the backward pass although its op is cheap, because what it is made of is larger or slower to get. */
  keep?: boolean;
}

export type Source =
  | { readonly kind: 'input'; readonly name: string }
  | { readonly kind: 'constant'; readonly data: Float32Array | BigInt64Array }
  | { readonly kind: 'op'; readonly node: Node };

/** One application of an op. */
export interface Node<A extends Attrs = Attrs> {
  readonly op: Op<A>;
  readonly inputs: readonly Value[];
  readonly attrs: A;
  readonly outputs: readonly Value[];
}

/** Cotangents of `inputs` for the cotangent of the value that carries this. */
export interface CustomVjp {
  readonly inputs: readonly Value[];
  readonly pull: (dy: Value) => readonly Value[];
}

/**
 * A length that is known only when the graph runs, in graphs that are written for other programs. Sums and products with
 * it stay free, and what would write it into a graph as a number fails.
 */
export const FREE = Number.POSITIVE_INFINITY;

/** Number of elements. */
export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i]);

/** Thrown where an architecture puts tensors together that do not fit: a fault in Fettle, not in a person's input. */
export class ShapeError extends Error {
  constructor(op: string, what: string, values: readonly TensorType[]) {
    super(`${op}: ${what}; given ${values.map((v) => `${v.dtype}[${v.shape.join(', ')}]`).join(', ')}`);
    this.name = 'ShapeError';
  }
}

/** Everything one graph, or a forward and backward pair of graphs, is made of. */
export class Scope {
  #nextId = 0;
  readonly #known = new Map<string, readonly Value[]>();
  readonly #inputs = new Map<string, Value>();

  /** A tensor that is fed under `name`. Asked for again it is the same value. */
  input(name: string, shape: Shape, dtype: DType = 'float32'): Value {
    const known = this.#inputs.get(name);
    if (known) {
      if (!sameShape(known.shape, shape) || known.dtype !== dtype)
        throw new ShapeError(`input ${name}`, 'declared twice with different types', [known, { shape, dtype }]);
      return known;
    }
    const value: Value = { scope: this, id: this.#nextId++, shape, dtype, source: { kind: 'input', name } };
    this.#inputs.set(name, value);
    return value;
  }

  /** An input that was asked for before. */
  declared(name: string): Value {
    const known = this.#inputs.get(name);
    if (!known) throw new TypeError(`nothing is fed under ${name}`);
    return known;
  }

  /** A tensor written into the graph, row-major. */
  constant(data: Float32Array | BigInt64Array, shape: Shape): Value {
    const dtype: DType = data instanceof Float32Array ? 'float32' : 'int64';
    if (data.length !== sizeOf(shape))
      throw new ShapeError('constant', `${data.length} elements do not fill it`, [{ shape, dtype }]);
    return { scope: this, id: this.#nextId++, shape, dtype, source: { kind: 'constant', data } };
  }

  /** A float32 constant of rank 0. */
  scalar(x: number): Value {
    const key = `scalar ${x}`;
    let known = this.#known.get(key);
    if (!known) this.#known.set(key, (known = [this.constant(Float32Array.of(x), [])]));
    return known[0]!;
  }

  zeros(shape: Shape): Value {
    const key = `zeros ${shape.join()}`;
    let known = this.#known.get(key);
    if (!known) this.#known.set(key, (known = [this.constant(new Float32Array(sizeOf(shape)), shape)]));
    return known[0]!;
  }

  /** The results of an op; the same op on the same inputs gives the same values. Throws ShapeError. */
  apply<A extends Attrs>(op: Op<A>, inputs: readonly Value[], attrs: A): readonly Value[] {
    const stray = inputs.find((v) => v.scope !== this);
    if (stray) throw new ShapeError(op.name, 'an input belongs to another graph', [stray]);
    const key = `${op.name}(${inputs.map((v) => v.id).join()})${JSON.stringify(attrs)}`;
    const known = this.#known.get(key);
    if (known) return known;
    const outputs: Value[] = [];
    const node: Node<A> = { op, inputs, attrs, outputs };
    for (const type of op.types(inputs, attrs))
      outputs.push({ scope: this, id: this.#nextId++, ...type, source: { kind: 'op', node } });
    this.#known.set(key, outputs);
    return outputs;
  }
}

/** The node that computes a value, or undefined for inputs and constants. */
export const nodeOf = (v: Value): Node | undefined => (v.source.kind === 'op' ? v.source.node : undefined);
