/** @file AdamW and clipping on a graphics processor: one segment a step for all that a layer trains, and only the norm comes out. */
import type { Tensor } from 'onnxruntime-node';
import { emit, type Program } from '../graph/emit.ts';
import { add, div, mul, reduceSum, sqrt, sub } from '../graph/ops/index.ts';
import { Scope, type Value } from '../graph/value.ts';
import type { DeviceParameters } from '../model/device-parameters.ts';
import type { View } from '../model/parameters.ts';
import { tensor, zeros, type Tensors } from '../segments/session.ts';
import type { AdamWOptions, Optimizer } from '../types.ts';
import { clipFactor, decayOf, rateFactor } from './adamw.ts';

type Moments = Readonly<Record<string, Tensor>>;

/** The same update as train/adamw.ts makes on the host, in float32 throughout. */
export class DeviceAdamW implements Optimizer {
  readonly first: Float32Array;
  readonly second: Float32Array;
  steps = 0;
  readonly #parameters: DeviceParameters;
  readonly #options: AdamWOptions;
  /** By layer; undefined before the first step, or where the host's are newer. */
  #moments: { first: Moments; second: Moments }[] | undefined;
  #factor = 1;

  constructor(parameters: DeviceParameters, options: AdamWOptions) {
    this.#parameters = parameters;
    this.#options = options;
    this.first = new Float32Array(parameters.host.values.length);
    this.second = new Float32Array(parameters.host.values.length);
  }

  async zero(): Promise<void> {
    await this.#parameters.place();
    for (const layer of this.#parameters.layers) layer.forget();
  }

  async clip(maxNorm: number): Promise<number> {
    const { memory, layers } = this.#parameters;
    const session = await memory.program('norm', () => normProgram(layers[0]!.views));
    let sum: Tensor = zeros([1, 1]);
    for (const { gradients } of layers) sum = (await memory.run(session, [gradients, { sum }], 'norm'))['y']!;
    const norm = Math.sqrt((await memory.read(sum))[0]!);
    this.#factor = clipFactor(norm, maxNorm);
    return norm;
  }

  async step(learningRate: number): Promise<void> {
    const { memory, layers } = this.#parameters;
    const { beta1, beta2 } = this.#options;
    this.steps++;
    const moments = await this.#moved();
    const session = await memory.program('adamw', () => this.#program(layers[0]!.views));
    const number = (x: number): Tensor => tensor(Float32Array.of(x), [1]);
    const numbers = {
      factor: number(this.#factor),
      rate: number(learningRate),
      correction1: number(1 / (1 - beta1 ** this.steps)),
      correction2: number(1 / Math.sqrt(1 - beta2 ** this.steps)),
    };
    const places = Object.fromEntries([...session.program.outputs.keys()].map((name) => [name, null]));
    for (const [index, layer] of layers.entries()) {
      const { first, second } = moments[index]!;
      const from = [
        layer.gradients,
        numbers,
        named('value', layer.values),
        named('first', first),
        named('second', second),
      ];
      const made = await memory.run(session, from, 'adamw', places);
      const part = (kind: string): Moments =>
        Object.fromEntries(layer.views.map(({ name }) => [name, made[`next.${kind}.${name}`]!]));
      for (const old of [...Object.values(first), ...Object.values(second)]) this.#parameters.free(old);
      layer.replaceValues(part('value'));
      moments[index] = { first: part('first'), second: part('second') };
    }
  }

  restore(first: Float32Array, second: Float32Array, steps: number): void {
    this.first.set(first);
    this.second.set(second);
    this.steps = steps;
  }

  async read(): Promise<void> {
    await this.#parameters.read();
    const moments = this.#moments;
    if (!moments) return;
    await this.#parameters.download((_, index) => moments[index]!.first, this.first);
    await this.#parameters.download((_, index) => moments[index]!.second, this.second);
  }

  async write(): Promise<void> {
    this.#parameters.replace();
    await this.#parameters.place();
    for (const { first, second } of this.#moments ?? [])
      for (const old of [...Object.values(first), ...Object.values(second)]) this.#parameters.free(old);
    this.#moments = undefined;
  }

  /** The moments where they are used, from the host's at the first step. */
  async #moved(): Promise<{ first: Moments; second: Moments }[]> {
    if (this.#moments) return this.#moments;
    const moments: { first: Moments; second: Moments }[] = [];
    for (const { views } of this.#parameters.layers)
      moments.push({
        first: await this.#parameters.upload(views, this.first),
        second: await this.#parameters.upload(views, this.second),
      });
    return (this.#moments = moments);
  }

  #program(views: readonly View[]): Program {
    const { beta1, beta2, epsilon } = this.#options;
    const scope = new Scope();
    const [factor, learningRate, correction1, correction2] = ['factor', 'rate', 'correction1', 'correction2'].map(
      (name) => scope.input(name, [1]),
    ) as [Value, Value, Value, Value];
    const outputs = new Map<string, Value>();
    const of = (x: Value, share: number): Value => mul(x, scope.scalar(share));
    for (const { name, shape, offset } of views) {
      const entry = this.#parameters.host.entries.find((each) => each.offset === offset)!;
      const input = (kind: string): Value => scope.input(`${kind}.${name}`, shape);
      const rate = of(learningRate, rateFactor(entry, this.#options));
      const gradient = mul(input('g'), factor);
      const m = add(of(input('first'), beta1), of(gradient, 1 - beta1));
      const v = add(of(input('second'), beta2), of(mul(gradient, gradient), 1 - beta2));
      const step = div(mul(m, mul(rate, correction1)), add(mul(sqrt(v), correction2), scope.scalar(epsilon)));
      const kept = mul(input('value'), sub(scope.scalar(1), of(rate, decayOf(entry, this.#options))));
      outputs.set(`next.value.${name}`, sub(kept, step));
      outputs.set(`next.first.${name}`, m);
      outputs.set(`next.second.${name}`, v);
    }
    return emit(outputs, 'webgpu');
  }
}

const named = (kind: string, tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, each]) => [`${kind}.${name}`, each]));

/** `sum` and the squares of all gradients of a layer, [1, 1]; along one axis after the other, so that many work at it. */
function normProgram(views: readonly View[]): Program {
  const scope = new Scope();
  const squares = views.map(({ name, shape }) => {
    const gradient = scope.input(`g.${name}`, shape);
    return reduceSum(reduceSum(mul(gradient, gradient), [1]), [0]);
  });
  return emit(new Map([['y', squares.reduce(add, scope.input('sum', [1, 1]))]]), 'webgpu');
}
