/**
 * @file What is trained, on a graphics processor: the matrices of one width of all layers as one stack, for the optimiser,
 * and each by itself, for the segments; of the gradients' sums a stack for each layer.
 */
import type { Tensor } from 'onnxruntime-node';
import { emit, type Program } from '../graph/emit.ts';
import { slice } from '../graph/ops/index.ts';
import { Scope, type Value } from '../graph/value.ts';
import { stacksOf, type Stack } from '../segments/compile.ts';
import type { DeviceMemory } from '../segments/device-memory.ts';
import { tensor, zeros, type Places, type Tensors } from '../segments/session.ts';
import type { TrainedParameters, TrainedTensors, View } from './parameters.ts';

/** A member of a stack of all layers. */
export interface Member extends View {
  readonly layer: number;
  /** Its first row, and the one after its last. */
  readonly from: number;
  readonly to: number;
}

/** Nothing is written in place there: what a segment makes takes the place of what it was made from, which is freed. */
export class DeviceParameters {
  readonly layers: readonly DeviceLayer[];
  /** Weights before and after the blocks are trained on the host alone. */
  readonly outer: TrainedTensors = { values: {}, gradients: {}, took: () => undefined };
  readonly memory: DeviceMemory;
  readonly host: TrainedParameters;
  /** Of a layer; all layers have the same. */
  readonly stacks: readonly Stack<View>[];
  /** The same of all layers. */
  readonly whole: readonly Stack<Member>[];
  #values: Tensors = {};
  /** By stack, of a layer's gradients before a step; shared, and freed with the device. */
  #zeros: Tensors | undefined;
  #placed = false;

  constructor(host: TrainedParameters, memory: DeviceMemory) {
    this.host = host;
    this.memory = memory;
    this.layers = host.layers.map(() => new DeviceLayer(this));
    this.stacks = stacksOf(host.layers[0]!);
    const layers = host.layers.map((views) => stacksOf(views));
    this.whole = this.stacks.map(({ name, width }, stack) => {
      let rows = 0;
      const members = layers.flatMap((own, layer) =>
        own[stack]!.members.map((view): Member => {
          const from = rows;
          rows += view.shape[0]!;
          return { ...view, layer, from, to: rows };
        }),
      );
      return { name, width, members, rows };
    });
  }

  /** Values in stacks of all layers. */
  get values(): Tensors {
    return this.#values;
  }

  /** Brings the host's values to the device, where they are not there yet. */
  async place(): Promise<void> {
    if (this.#placed) return;
    this.#placed = true;
    if (!this.#zeros) {
      const made: Record<string, Tensor> = {};
      for (const { name, rows, width } of this.stacks) made[name] = await this.memory.keep(zeros([rows, width]));
      this.#zeros = made;
    }
    await this.replaceValues(await this.upload(this.host.values));
    this.forgetGradients();
  }

  /** What stands in the host's values counts from here on. */
  replace(): void {
    this.#placed = false;
  }

  /** Brings the values back into the host's buffer. */
  async read(): Promise<void> {
    if (this.#placed) await this.download(this.values, this.host.values);
  }

  /** A flat buffer of the host's layout, as stacks. */
  async upload(flat: Float32Array): Promise<Tensors> {
    const made: Record<string, Tensor> = {};
    for (const { name, width, members, rows } of this.whole) {
      const gathered = new Float32Array(rows * width);
      for (const { offset, from, to } of members) {
        const size = (to - from) * width;
        gathered.set(flat.subarray(offset, offset + size), from * width);
      }
      made[name] = await this.memory.keep(tensor(gathered, [rows, width]));
    }
    return made;
  }

  /** The other way. */
  async download(stacks: Tensors, flat: Float32Array): Promise<void> {
    for (const { name, width, members } of this.whole) {
      const gathered = await this.memory.read(stacks[name]!);
      for (const { offset, from, to } of members) flat.set(gathered.subarray(from * width, to * width), offset);
    }
  }

  /** Takes new values over, in the stacks and each by itself. */
  async replaceValues(values: Tensors): Promise<void> {
    const session = await this.memory.program('members', () => this.#membersProgram());
    const places = Object.fromEntries([...session.program.outputs.keys()].map((name) => [name, null]));
    const made = await this.memory.run(session, [values], 'members', places);
    for (const old of Object.values(this.#values)) this.memory.free(old);
    this.#values = values;
    const own: Record<string, Tensor>[] = this.layers.map(() => ({}));
    for (const { name, layer } of this.whole.flatMap(({ members }) => members))
      own[layer]![name] = made[inLayer(layer, name)]!;
    this.layers.forEach((layer, i) => layer.replaceValues(own[i]!));
  }

  /** Gradients begin anew. */
  forgetGradients(): void {
    for (const layer of this.layers) layer.become(this.#zeros!);
  }

  /** Frees a tensor, unless it is shared. */
  free(old: Tensor): void {
    if (!Object.values(this.#zeros ?? {}).includes(old)) this.memory.free(old);
  }

  #membersProgram(): Program {
    const scope = new Scope();
    const outputs = new Map<string, Value>();
    for (const { name, width, members, rows } of this.whole) {
      const stack = scope.input(name, [rows, width]);
      for (const member of members)
        outputs.set(inLayer(member.layer, member.name), slice(stack, 0, member.from, member.to));
    }
    return emit(outputs, 'webgpu');
  }
}

/** What something of a layer is called where those of all layers are. */
export const inLayer = (layer: number, name: string): string => `${layer}.${name}`;

export class DeviceLayer implements TrainedTensors {
  values: Tensors = {};
  readonly #parameters: DeviceParameters;
  #gradients: Tensors = {};

  constructor(parameters: DeviceParameters) {
    this.#parameters = parameters;
  }

  /** Their sums, by stack. */
  get stacks(): Tensors {
    return this.#gradients;
  }

  get gradients(): Places {
    const places: Record<string, Tensor | null> = {};
    for (const [name, sum] of Object.entries(this.#gradients)) {
      places[`g.${name}`] = sum;
      places[`d.${name}`] = null;
    }
    return places;
  }

  took(made: Tensors): void {
    this.become(Object.fromEntries(this.#parameters.stacks.map(({ name }) => [name, made[`d.${name}`]!])));
  }

  become(gradients: Tensors): void {
    for (const old of Object.values(this.#gradients)) this.#parameters.free(old);
    this.#gradients = gradients;
  }

  replaceValues(values: Tensors): void {
    for (const old of Object.values(this.values)) this.#parameters.free(old);
    this.values = values;
  }
}
