/** @file What an architecture writes a block's forward pass with: its weights, projections with their adapters, attention. */
import { add, columnPeaks, gemm, split } from '../graph/ops/index.ts';
import type { Scope } from '../graph/value.ts';
import { type Value } from '../graph/value.ts';
import type { Precision } from '../../contract/recipe.ts';
import type { ModelSpec, Projection } from '../architectures/spec.ts';
import { frozenInput } from './frozen.ts';

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
  /** Of one part, [to, from]. */
  weight: (p: Projection, module: string): string => `${p.name}.${module}.weight`,
  bias: (p: Projection, module: string): string => `${p.name}.${module}.bias`,
  /** The A matrices of all adapted parts, one after the other, [adapted * rank, from]. */
  a: (p: Projection): string => `${p.name}.A`,
  /** The B matrix of one part, [to, rank]. */
  b: (p: Projection, module: string): string => `${p.name}.B.${module}`,
};

export class BlockBuilder {
  readonly scope: Scope;
  /** Inputs that are trained, in the order they were met. */
  readonly trained: Value[] = [];
  /** The largest magnitudes of each projection's input, [from], for calibration. */
  readonly peaks = new Map<string, Value>();
  readonly #spec: ModelSpec;
  readonly #adapter: AdapterShape | undefined;
  readonly #attention: Attention;
  readonly #precision: Precision;

  constructor(
    scope: Scope,
    spec: ModelSpec,
    adapter: AdapterShape | undefined,
    attention: Attention,
    precision: Precision,
  ) {
    this.scope = scope;
    this.#spec = spec;
    this.#adapter = adapter;
    this.#attention = attention;
    this.#precision = precision;
  }

  /** A norm's weight, [size]. */
  vector(name: string): Value {
    const found = this.#spec.vectors.find((v) => v.name === name);
    if (!found) throw new TypeError(`the architecture has no vector ${name}`);
    return this.scope.input(name, [found.size]);
  }

  /** The parts of a projection of x [rows, from], each [rows, to]. */
  project(name: string, x: Value): readonly Value[] {
    return this.#linear(this.#projection(name), x, undefined);
  }

  /** residual + a projection of x with one part, [rows, to]. */
  projectOnto(residual: Value, name: string, x: Value): Value {
    return this.#linear(this.#projection(name), x, residual)[0]!;
  }

  attend(q: Value, k: Value, v: Value): Value {
    return this.#attention(this.scope, q, k, v);
  }

  #projection(name: string): Projection {
    const found = this.#spec.projections.find((p) => p.name === name);
    if (!found) throw new TypeError(`the architecture has no projection ${name}`);
    return found;
  }

  /**
   * x W' + scale (x A') B' + bias + residual for each part, in as few passes as Gemm's third input allows. The parts are
   * products of their own, since what they give fits the cache where all side by side would not; their A matrices are one.
   */
  #linear(p: Projection, input: Value, residual: Value | undefined): Value[] {
    this.peaks.set(p.name, columnPeaks(input));
    const { x, matching, product } = frozenInput(this.#precision, p.name, input);
    const outputs = p.parts.map(({ module, to }) => {
      const bias = p.bias ? this.scope.input(tensorNames.bias(p, module), [to]) : undefined;
      return product(tensorNames.weight(p, module), to, bias && residual ? add(residual, bias) : (residual ?? bias));
    });
    const adapter = this.#adapter;
    const adapted = adapter ? p.parts.filter((part) => adapter.targets.has(part.module)) : [];
    if (!adapter || adapted.length === 0) return outputs;
    const a = this.#trained(tensorNames.a(p), [adapted.length * adapter.rank, p.from]);
    const low = split(
      gemm(x, matching(a), { transB: true, alpha: adapter.scale }),
      adapted.map(() => adapter.rank),
      1,
    );
    return p.parts.map((part, i) => {
      const at = adapted.indexOf(part);
      if (at < 0) return outputs[i]!;
      const b = this.#trained(tensorNames.b(p, part.module), [part.to, adapter.rank]);
      return gemm(low[at]!, b, { transB: true, plus: outputs[i] });
    });
  }

  #trained(name: string, shape: readonly number[]): Value {
    const value = this.scope.input(name, shape);
    this.trained.push(value);
    return value;
  }
}
