/** @file What an architecture writes a block's forward pass with: its weights, projections with their adapters, attention. */
import { concat, gemm, pad, add, split } from '../graph/ops/index.ts';
import type { Scope } from '../graph/value.ts';
import { type Value } from '../graph/value.ts';
import type { ModelSpec, Projection, Vectors } from '../architectures/spec.ts';

/** The adapters of a model (LoRA, Hu et al. 2021): the same in every block. */
export interface AdapterShape {
  readonly rank: number;
  /** Factor of the adapter's product: alpha / rank. */
  readonly scale: number;
  /** Modules that have one, as PEFT calls them. */
  readonly targets: ReadonlySet<string>;
}

/** Attention over what a block is given to see; q [rows, heads * d], k and v [rows, kvHeads * d] -> [rows, heads * d]. */
export type Attention = (scope: Scope, q: Value, k: Value, v: Value) => Value;

/** Names of a projection's tensors as inputs of a segment. */
export const tensorNames = {
  /** All parts, [sum of to, from]. */
  weight: (p: Projection): string => `${p.name}.weight`,
  bias: (p: Projection): string => `${p.name}.bias`,
  /** The A matrices of all adapted parts, one after the other, [adapted * rank, from]. */
  a: (p: Projection): string => `${p.name}.A`,
  /** The B matrix of one part, [to, rank]. */
  b: (p: Projection, module: string): string => `${p.name}.B.${module}`,
};

export class BlockBuilder implements Vectors {
  readonly scope: Scope;
  /** Inputs that are trained, in the order they were met. */
  readonly trained: Value[] = [];
  readonly #spec: ModelSpec;
  readonly #adapter: AdapterShape | undefined;
  readonly #attention: Attention;

  constructor(scope: Scope, spec: ModelSpec, adapter: AdapterShape | undefined, attention: Attention) {
    this.scope = scope;
    this.#spec = spec;
    this.#adapter = adapter;
    this.#attention = attention;
  }

  /** A norm's weight or bias, [size]. */
  vector(name: string): Value {
    const found = this.#spec.vectors.find((v) => v.name === name);
    if (!found) throw new TypeError(`the architecture has no vector ${name}`);
    return this.scope.input(name, [found.size]);
  }

  /** The parts of a projection of x [rows, from], each [rows, to]. */
  project(name: string, x: Value): readonly Value[] {
    const p = this.#projection(name);
    return split(
      this.#linear(p, x, undefined),
      p.parts.map((part) => part.to),
      1,
    );
  }

  /** residual + a projection of x with one part, [rows, to]. */
  projectOnto(residual: Value, name: string, x: Value): Value {
    return this.#linear(this.#projection(name), x, residual);
  }

  attend(q: Value, k: Value, v: Value): Value {
    return this.#attention(this.scope, q, k, v);
  }

  #projection(name: string): Projection {
    const found = this.#spec.projections.find((p) => p.name === name);
    if (!found) throw new TypeError(`the architecture has no projection ${name}`);
    return found;
  }

  /** x W' + scale (x A') B' + bias + residual, in as few passes as Gemm's third input allows. */
  #linear(p: Projection, x: Value, residual: Value | undefined): Value {
    const to = p.parts.reduce((sum, part) => sum + part.to, 0);
    const weight = this.scope.input(tensorNames.weight(p), [to, p.from]);
    const bias = p.bias ? this.scope.input(tensorNames.bias(p), [to]) : undefined;
    const start = bias && residual ? add(residual, bias) : (residual ?? bias);
    const y = gemm(x, weight, { transB: true, plus: start });
    const adapter = this.#adapter;
    const adapted = adapter ? p.parts.filter((part) => adapter.targets.has(part.module)) : [];
    if (!adapter || adapted.length === 0) return y;
    const a = this.#trained(tensorNames.a(p), [adapted.length * adapter.rank, p.from]);
    const low = gemm(x, a, { transB: true, alpha: adapter.scale });
    // The B matrices on the diagonal of one, so that all parts take one product: its zeros cost less than more passes.
    const width = adapted.length * adapter.rank;
    const b = p.parts.map((part) => {
      const at = adapted.indexOf(part);
      if (at < 0) return this.scope.zeros([part.to, width]);
      const own = this.#trained(tensorNames.b(p, part.module), [part.to, adapter.rank]);
      return pad(own, 1, at * adapter.rank, width - (at + 1) * adapter.rank);
    });
    return gemm(low, concat(b, 0), { transB: true, plus: y });
  }

  #trained(name: string, shape: readonly number[]): Value {
    const value = this.scope.input(name, shape);
    this.trained.push(value);
    return value;
  }
}
