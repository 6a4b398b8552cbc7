/** @file AdamW and clipping on a graphics processor: all layers at once, in stacks of matrices of one width; only the norm comes out. */
import type { Tensor } from 'onnxruntime-node';
import { emit, type Program } from '../graph/emit.ts';
import { add, concat, div, mul, reduceSum, sqrt, sub } from '../graph/ops/index.ts';
import { Scope, type Value } from '../graph/value.ts';
import { inLayer, type DeviceParameters, type Member } from '../model/device-parameters.ts';
import { tensor, type Tensors } from '../segments/session.ts';
import type { AdamWOptions, Optimizer, ParameterSet } from '../types.ts';
import { clipFactor, decayOf, rateFactor, takeMoments } from './adamw.ts';

/** By stack. */
interface Moments {
  readonly first: Tensors;
  readonly second: Tensors;
}

/** The same update as train/adamw.ts makes on the host, in float32 throughout. */
export class DeviceAdamW implements Optimizer {
  readonly first: Float32Array;
  readonly second: Float32Array;
  steps = 0;
  readonly #parameters: DeviceParameters;
  readonly #options: AdamWOptions;
  /** Undefined before the first step, or where the host's are newer. */
  #moments: Moments | undefined;
  /** What a clipping leaves to the step after it: gradients where they were gathered, and what they are scaled by. */
  #clipped: { readonly gradients: Tensors; readonly factor: number } | undefined;

  constructor(parameters: DeviceParameters, options: AdamWOptions) {
    this.#parameters = parameters;
    this.#options = options;
    this.first = new Float32Array(parameters.host.values.length);
    this.second = new Float32Array(parameters.host.values.length);
  }

  async zero(): Promise<void> {
    await this.#parameters.place();
    this.#parameters.forgetGradients();
    this.#clipped = undefined;
  }

  async clip(maxNorm: number): Promise<number> {
    const { memory } = this.#parameters;
    const session = await memory.program('norm', () => this.#normProgram());
    const gradients = await this.#gradients();
    const { squares } = await memory.run(session, [gradients], 'norm');
    const norm = Math.sqrt((await memory.read(squares!))[0]!);
    this.#clipped = { gradients, factor: clipFactor(norm, maxNorm) };
    return norm;
  }

  async step(learningRate: number): Promise<void> {
    const { memory, stacks } = this.#parameters;
    const { beta1, beta2 } = this.#options;
    const { gradients, factor } = this.#clipped ?? { gradients: await this.#gradients(), factor: 1 };
    this.#clipped = undefined;
    this.steps++;
    const { first, second } = await this.#moved();
    const session = await memory.program('adamw', () => this.#program());
    const number = (x: number): Tensor => tensor(Float32Array.of(x), [1, 1]);
    const numbers = {
      factor: number(factor),
      rate: number(learningRate),
      correction1: number(1 / (1 - beta1 ** this.steps)),
      correction2: number(1 / Math.sqrt(1 - beta2 ** this.steps)),
    };
    const fed = (kind: string, tensors: Tensors): Tensors =>
      Object.fromEntries(stacks.map(({ name }) => [`${kind}.${name}`, tensors[name]!]));
    const from = [
      numbers,
      gradients,
      fed('value', this.#parameters.values),
      fed('first', first),
      fed('second', second),
    ];
    const places = Object.fromEntries([...session.program.outputs.keys()].map((name) => [name, null]));
    const made = await memory.run(session, from, 'adamw', places);
    const next = (kind: string): Tensors =>
      Object.fromEntries(stacks.map(({ name }) => [name, made[`next.${kind}.${name}`]!]));
    this.#freeMoments();
    this.#moments = { first: next('first'), second: next('second') };
    await this.#parameters.replaceValues(next('value'));
  }

  restore(first: Float32Array, second: Float32Array, steps: number): void {
    takeMoments(this, first, second);
    this.steps = steps;
  }

  async read(): Promise<void> {
    await this.#parameters.read();
    if (!this.#moments) return;
    await this.#parameters.download(this.#moments.first, this.first);
    await this.#parameters.download(this.#moments.second, this.second);
  }

  async write(): Promise<void> {
    this.#parameters.replace();
    await this.#parameters.place();
    this.#freeMoments();
    this.#moments = undefined;
  }

  /** The moments where they are used, from the host's at the first step. */
  async #moved(): Promise<Moments> {
    return (this.#moments ??= {
      first: await this.#parameters.upload(this.first),
      second: await this.#parameters.upload(this.second),
    });
  }

  #freeMoments(): void {
    const { first = {}, second = {} } = this.#moments ?? {};
    for (const old of [...Object.values(first), ...Object.values(second)]) this.#parameters.memory.free(old);
  }

  /** Those of all layers, as `gradient.STACK`; valid until the next call. */
  async #gradients(): Promise<Tensors> {
    const { memory, layers } = this.#parameters;
    const session = await memory.program('gradients', () => this.#gradientsProgram());
    const from = layers.map(({ stacks }, layer) =>
      Object.fromEntries(Object.entries(stacks).map(([name, sum]) => [inLayer(layer, name), sum])),
    );
    return memory.run(session, from, 'gradients');
  }

  #gradientsProgram(): Program {
    const { layers, stacks } = this.#parameters;
    const scope = new Scope();
    const ofAll = stacks.map(({ name, rows, width }): [string, Value] => [
      `gradient.${name}`,
      concat(
        layers.map((_, layer) => scope.input(inLayer(layer, name), [rows, width])),
        0,
      ),
    ]);
    return emit(new Map(ofAll), 'webgpu');
  }

  /** `squares` [1, 1], summed along one axis after the other, so that many work at it. */
  #normProgram(): Program {
    const scope = new Scope();
    const sums = this.#parameters.whole.map(({ name, width, rows }) => {
      const gradient = scope.input(`gradient.${name}`, [rows, width]);
      return reduceSum(reduceSum(mul(gradient, gradient), [1]), [0]);
    });
    return emit(new Map([['squares', sums.reduce((a, b) => add(a, b))]]), 'webgpu');
  }

  #program(): Program {
    const { beta1, beta2, epsilon } = this.#options;
    const scope = new Scope();
    const [factor, learningRate, correction1, correction2] = ['factor', 'rate', 'correction1', 'correction2'].map(
      (name) => scope.input(name, [1, 1]),
    ) as [Value, Value, Value, Value];
    const outputs = new Map<string, Value>();
    const of = (x: Value, share: number): Value => mul(x, scope.scalar(share));
    for (const { name, width, rows, members } of this.#parameters.whole) {
      const input = (kind: string): Value => scope.input(`${kind}.${name}`, [rows, width]);
      const rate = mul(
        learningRate,
        this.#each(scope, members, (entry) => rateFactor(entry, this.#options)),
      );
      const decay = this.#each(scope, members, (entry) => decayOf(entry, this.#options));
      const gradient = mul(input('gradient'), factor);
      const m = add(of(input('first'), beta1), of(gradient, 1 - beta1));
      const v = add(of(input('second'), beta2), of(mul(gradient, gradient), 1 - beta2));
      const step = div(mul(m, mul(rate, correction1)), add(mul(sqrt(v), correction2), scope.scalar(epsilon)));
      outputs.set(`next.value.${name}`, sub(mul(input('value'), sub(scope.scalar(1), mul(rate, decay))), step));
      outputs.set(`next.first.${name}`, m);
      outputs.set(`next.second.${name}`, v);
    }
    return emit(outputs, 'webgpu');
  }

  /** A number for each row: one for all where it is the same, [1, 1], else [rows, 1]. */
  #each(scope: Scope, members: readonly Member[], of: (entry: ParameterSet['entries'][number]) => number): Value {
    const byOffset = new Map(this.#parameters.host.entries.map((entry) => [entry.offset, entry]));
    const numbers = members.map(({ offset }) => of(byOffset.get(offset)!));
    if (numbers.every((number) => number === numbers[0])) return scope.constant(Float32Array.of(numbers[0]!), [1, 1]);
    const rows = members.at(-1)!.to;
    const all = new Float32Array(rows);
    members.forEach(({ from, to }, i) => all.fill(numbers[i]!, from, to));
    return scope.constant(all, [rows, 1]);
  }
}
