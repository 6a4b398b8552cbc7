/** @file What an architecture writes a block's forward pass with: its weights, projections with their adapters, attention. */
import { withVjp } from '../autodiff/gradient.ts';
import { add, concat, gemm, mul, pad, reshape, rsqrt, split, sumLast } from '../graph/ops/index.ts';
import type { Scope } from '../graph/value.ts';
import { type Value } from '../graph/value.ts';
import type { ModelSpec, Projection, Vectors } from '../architectures/spec.ts';

/** The adapters of a model (LoRA, Hu et al. 2021): the same in every block. */
export interface AdapterShape {
  readonly kind: 'adapter';
  readonly rank: number;
  /** Factor of the adapter's product. */
  readonly scale: number;
  /** Modules that have one, as PEFT calls them. */
  readonly targets: ReadonlySet<string>;
  /** Weight-decomposed (DoRA, Liu et al. 2024): the length of each output's row of weights is learned by itself. */
  readonly dora: boolean;
  /** Share of a projection's inputs that its adapter does not see in a step of training. */
  readonly dropout: number;
}

/** What is trained in every block: adapters beside the weights, or the weights themselves. */
export type TrainedShape = AdapterShape | { readonly kind: 'whole' };

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
  /** Lengths of one part's rows of weights (DoRA), [to]. */
  magnitude: (p: Projection, module: string): string => `${p.name}.M.${module}`,
  /** What an adapter's input is multiplied by in training, [rows, from]: 0 where it is dropped, else 1 over the share kept. */
  dropout: (p: Projection): string => `${p.name}.dropout`,
};

/** What is added to a projection's product: its bias, and what it is to be added to. */
interface Linear {
  readonly x: Value;
  readonly weight: Value;
  readonly start: Value | undefined;
}

export class BlockBuilder implements Vectors {
  readonly scope: Scope;
  /** Inputs that are trained, in the order they were met. */
  readonly trained: Value[] = [];
  readonly #spec: ModelSpec;
  readonly #shape: TrainedShape | undefined;
  readonly #attention: Attention;
  readonly #training: boolean;

  /** @param training an adapter's dropout takes place; otherwise it sees all. */
  constructor(scope: Scope, spec: ModelSpec, shape: TrainedShape | undefined, attention: Attention, training = false) {
    this.scope = scope;
    this.#spec = spec;
    this.#shape = shape;
    this.#attention = attention;
    this.#training = training;
  }

  /** A norm's weight or bias, [size]. */
  vector(name: string): Value {
    const found = this.#spec.vectors.find((v) => v.name === name);
    if (!found) throw new TypeError(`the architecture has no vector ${name}`);
    return this.#weight(name, [found.size]);
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
    const weight = this.#weight(tensorNames.weight(p), [to, p.from]);
    const bias = p.bias ? this.#weight(tensorNames.bias(p), [to]) : undefined;
    const start = bias && residual ? add(residual, bias) : (residual ?? bias);
    const shape = this.#shape;
    if (shape?.kind === 'adapter' && p.parts.some((part) => shape.targets.has(part.module)))
      return this.#adapted(p, shape, { x, weight, start });
    return gemm(x, weight, { transB: true, plus: start });
  }

  #adapted(p: Projection, adapter: AdapterShape, { x, weight, start }: Linear): Value {
    const adapted = p.parts.filter((part) => adapter.targets.has(part.module));
    const width = adapted.length * adapter.rank;
    const a = this.#trained(tensorNames.a(p), [width, p.from]);
    // The B matrices on the diagonal of one, so that all parts take one product: its zeros cost less than more passes.
    const b = concat(
      p.parts.map((part) => {
        const at = adapted.indexOf(part);
        if (at < 0) return this.scope.zeros([part.to, width]);
        const own = this.#trained(tensorNames.b(p, part.module), [part.to, adapter.rank]);
        return pad(own, 1, at * adapter.rank, width - (at + 1) * adapter.rank);
      }),
      0,
    );
    const drops = this.#training && adapter.dropout > 0;
    const seen = drops ? mul(x, this.scope.input(tensorNames.dropout(p), x.shape)) : x;
    const low = gemm(seen, a, { transB: true, alpha: adapter.scale });
    if (!adapter.dora) return gemm(low, b, { transB: true, plus: gemm(x, weight, { transB: true, plus: start }) });
    const stretched = mul(
      gemm(low, b, { transB: true, plus: gemm(x, weight, { transB: true }) }),
      this.#stretch(p, adapter, add(weight, gemm(b, a, { alpha: adapter.scale }))),
    );
    return start ? add(stretched, start) : stretched;
  }

  /**
   * What DoRA multiplies each output by, [to]: its learned magnitude over the length of its row of W + scale B A
   * (Liu et al. 2024, equation 5), which counts as a constant on the way back (section 4.3). 1 for parts without an adapter.
   */
  #stretch(p: Projection, adapter: AdapterShape, moved: Value): Value {
    const length = rsqrt(reshape(sumLast(mul(moved, moved)), [moved.shape[0]!]));
    const constant = withVjp(length, [], () => []);
    const lengths = split(
      constant,
      p.parts.map((part) => part.to),
      0,
    );
    return concat(
      p.parts.map((part, i) =>
        adapter.targets.has(part.module)
          ? mul(this.#trained(tensorNames.magnitude(p, part.module), [part.to]), lengths[i]!)
          : this.scope.constant(new Float32Array(part.to).fill(1), [part.to]),
      ),
      0,
    );
  }

  /** A weight of the base, which is trained where all of them are. */
  #weight(name: string, shape: readonly number[]): Value {
    return this.#shape?.kind === 'whole' ? this.#trained(name, shape) : this.scope.input(name, shape);
  }

  #trained(name: string, shape: readonly number[]): Value {
    const value = this.scope.input(name, shape);
    if (!this.trained.includes(value)) this.trained.push(value);
    return value;
  }
}
