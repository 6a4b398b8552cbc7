/** @file What an architecture writes a block's forward pass with: its weights, projections with their adapters, attention. */
import type { Precision } from '../../contract/recipe.ts';
import { keep, withVjp } from '../autodiff/gradient.ts';
import { add, gemm, mul, reshape, rsqrt, split, sumLast } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import type { ModelSpec, Projection, Vectors } from '../architectures/spec.ts';
import { frozenInput, type FrozenInput } from './frozen.ts';

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
  /** Of one part, [to, from]. */
  weight: (p: Projection, module: string): string => `${p.name}.${module}.weight`,
  bias: (p: Projection, module: string): string => `${p.name}.${module}.bias`,
  /** The A matrices of all adapted parts, one after the other, [adapted * rank, from]. */
  a: (p: Projection): string => `${p.name}.A`,
  /** The B matrix of one part, [to, rank]. */
  b: (p: Projection, module: string): string => `${p.name}.B.${module}`,
  /** Lengths of one part's rows of weights (DoRA), [to]. */
  magnitude: (p: Projection, module: string): string => `${p.name}.M.${module}`,
  /** What an adapter's input is multiplied by in training, [rows, from]: 0 where it is dropped, else 1 over the share kept. */
  dropout: (p: Projection): string => `${p.name}.dropout`,
};

/** How a block is built, where it is not for answering in float32. */
export interface BuildOptions {
  /** An adapter's dropout takes place; otherwise it sees all. */
  readonly training?: boolean;
  /** Of the frozen weights. */
  readonly precision?: Precision;
}

export class BlockBuilder implements Vectors {
  readonly scope: Scope;
  /** Inputs that are trained, in the order they were met. */
  readonly trained: Value[] = [];
  /** What each projection multiplies, [rows, from]. */
  readonly multiplied = new Map<string, Value>();
  readonly #spec: ModelSpec;
  readonly #shape: TrainedShape | undefined;
  readonly #attention: Attention;
  readonly #training: boolean;
  readonly #precision: Precision;

  constructor(
    scope: Scope,
    spec: ModelSpec,
    shape: TrainedShape | undefined,
    attention: Attention,
    { training = false, precision = 'fp32' }: BuildOptions = {},
  ) {
    this.scope = scope;
    this.#spec = spec;
    this.#shape = shape;
    this.#attention = attention;
    this.#training = training;
    this.#precision = precision;
  }

  /** A norm's weight or bias, [size]. */
  vector(name: string): Value {
    const found = this.#spec.vectors.find((v) => v.name === name);
    if (!found) throw new TypeError(`the architecture has no vector ${name}`);
    return this.#weight(name, [found.size]);
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
  #linear(p: Projection, x: Value, residual: Value | undefined): Value[] {
    this.multiplied.set(p.name, x);
    const shape = this.#shape;
    const input = frozenInput(this.#precision, p.name, x, (name, size) => this.#weight(name, size));
    const starts = p.parts.map(({ module, to }) => {
      const bias = p.bias ? this.#weight(tensorNames.bias(p, module), [to]) : undefined;
      return bias && residual ? add(residual, bias) : (residual ?? bias);
    });
    if (shape?.kind === 'adapter' && p.parts.some((part) => shape.targets.has(part.module)))
      return this.#adapted(p, shape, input, starts);
    return p.parts.map(({ module, to }, i) => input.product(tensorNames.weight(p, module), to, starts[i]));
  }

  #adapted(p: Projection, adapter: AdapterShape, input: FrozenInput, starts: readonly (Value | undefined)[]): Value[] {
    const { x, matching, product } = input;
    const adapted = p.parts.filter((part) => adapter.targets.has(part.module));
    const a = this.#trained(tensorNames.a(p), [adapted.length * adapter.rank, p.from]);
    const ranks = adapted.map(() => adapter.rank);
    const drops = this.#training && adapter.dropout > 0;
    const seen = drops ? mul(x, this.scope.input(tensorNames.dropout(p), x.shape)) : x;
    const low = split(gemm(seen, matching(a), { transB: true, alpha: adapter.scale }), ranks, 1);
    const own = adapter.dora ? split(a, ranks, 0) : [];
    return p.parts.map((part, i) => {
      const name = tensorNames.weight(p, part.module);
      const at = adapted.indexOf(part);
      if (at < 0) return product(name, part.to, starts[i]);
      const b = this.#trained(tensorNames.b(p, part.module), [part.to, adapter.rank]);
      if (!adapter.dora) return gemm(low[at]!, b, { transB: true, plus: product(name, part.to, starts[i]) });
      const moved = add(this.#weight(name, [part.to, p.from]), gemm(b, own[at]!, { alpha: adapter.scale }));
      const magnitude = this.#trained(tensorNames.magnitude(p, part.module), [part.to]);
      const y = gemm(low[at]!, b, { transB: true, plus: product(name, part.to) });
      const stretched = mul(y, mul(magnitude, inverseLengths(moved)));
      return starts[i] ? add(stretched, starts[i]) : stretched;
    });
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

/**
 * 1 over the length of each row of a DoRA layer's W + scale B A, [to], which is what its learned magnitude is divided by
 * (Liu et al. 2024, equation 5). It counts as a constant on the way back (section 4.3), and is kept for it, since what it
 * is made of is as large as the weights.
 */
function inverseLengths(moved: Value): Value {
  return withVjp(keep(rsqrt(reshape(sumLast(mul(moved, moved)), [moved.shape[0]!]))), [], () => []);
}
