/** @file What is trained, on a graphics processor: its values and the sums of its gradients, a tensor each. */
import type { Tensor } from 'onnxruntime-node';
import { sizeOf } from '../graph/value.ts';
import type { DeviceMemory } from '../segments/device-memory.ts';
import { tensor, zeros, type Places, type Tensors } from '../segments/session.ts';
import type { TrainedParameters, TrainedTensors, View } from './parameters.ts';

/** Nothing is written in place there: what a segment makes takes the place of what it was made from, which is freed. */
export class DeviceParameters {
  readonly layers: readonly DeviceLayer[];
  /** Weights before and after the blocks are trained on the host alone. */
  readonly outer: TrainedTensors = { values: {}, gradients: {}, took: () => undefined };
  readonly memory: DeviceMemory;
  readonly host: TrainedParameters;
  readonly #zeros = new Map<string, Tensor>();
  #placed = false;

  constructor(host: TrainedParameters, memory: DeviceMemory) {
    this.host = host;
    this.memory = memory;
    this.layers = host.layers.map((views) => new DeviceLayer(views, this));
  }

  /** Brings the host's values to the device, where they are not there yet. */
  async place(): Promise<void> {
    if (this.#placed) return;
    this.#placed = true;
    for (const layer of this.layers) {
      for (const { shape } of layer.views) await this.#makeZeros(shape);
      layer.replaceValues(await this.upload(layer.views, this.host.values));
      layer.forget();
    }
  }

  /** What stands in the host's values counts from here on. */
  replace(): void {
    this.#placed = false;
  }

  /** Brings the values back into the host's buffer. */
  async read(): Promise<void> {
    if (this.#placed) await this.download((layer) => layer.values, this.host.values);
  }

  /** A layer's part of a flat buffer, as tensors by their names. */
  async upload(views: readonly View[], flat: Float32Array): Promise<Record<string, Tensor>> {
    const made: Record<string, Tensor> = {};
    for (const { name, shape, offset } of views)
      made[name] = await this.memory.keep(tensor(flat.subarray(offset, offset + sizeOf(shape)), shape));
    return made;
  }

  /** The other way, for all layers. */
  async download(of: (layer: DeviceLayer, index: number) => Tensors, flat: Float32Array): Promise<void> {
    for (const [index, layer] of this.layers.entries())
      for (const { name, offset } of layer.views) flat.set(await this.memory.read(of(layer, index)[name]!), offset);
  }

  /** What everything of a shape begins with; shared, and never freed. */
  zeros(shape: readonly number[]): Tensor {
    return this.#zeros.get(shape.join())!;
  }

  /** Frees a tensor, unless it is shared. */
  free(old: Tensor | undefined): void {
    if (old && old !== this.#zeros.get(old.dims.join())) this.memory.free(old);
  }

  async #makeZeros(shape: readonly number[]): Promise<void> {
    const key = shape.join();
    if (!this.#zeros.has(key)) this.#zeros.set(key, await this.memory.keep(zeros(shape)));
  }
}

export class DeviceLayer implements TrainedTensors {
  readonly views: readonly View[];
  values: Readonly<Record<string, Tensor>> = {};
  #gradients: Readonly<Record<string, Tensor>> = {};
  readonly #parameters: DeviceParameters;

  constructor(views: readonly View[], parameters: DeviceParameters) {
    this.views = views;
    this.#parameters = parameters;
  }

  get gradients(): Places {
    const places: Record<string, Tensor | null> = {};
    for (const { name } of this.views) {
      places[`g.${name}`] = this.#gradients[name]!;
      places[`d.${name}`] = null;
    }
    return places;
  }

  took(made: Tensors): void {
    this.#become(Object.fromEntries(this.views.map(({ name }) => [name, made[`d.${name}`]!])));
  }

  /** Gradients begin anew. */
  forget(): void {
    this.#become(Object.fromEntries(this.views.map(({ name, shape }) => [name, this.#parameters.zeros(shape)])));
  }

  replaceValues(values: Readonly<Record<string, Tensor>>): void {
    for (const old of Object.values(this.values)) this.#parameters.free(old);
    this.values = values;
  }

  #become(gradients: Readonly<Record<string, Tensor>>): void {
    for (const old of Object.values(this.#gradients)) this.#parameters.free(old);
    this.#gradients = gradients;
  }
}
