/** @file Where a network's tensors are while it runs: what a processor of any kind is asked for, and the host's answer. */
import type { Tensor } from 'onnxruntime-node';
import type { TensorType } from '../graph/value.ts';
import { numbers, type Places, type Session, type Tensors } from './session.ts';
import { Workspace } from './workspace.ts';

/** What passes between segments lies in named slots: what a slot held is gone when something new comes into it. */
export interface Memory {
  /**
   * Runs a segment on what it needs of `from`.
   * @param slot of each output by its name, or one for all.
   * @param into outputs that have a place of their own, or null: a tensor that belongs to the caller.
   */
  run(
    session: Session,
    from: readonly Places[],
    slot: string | ((output: string) => string),
    into?: Places,
  ): Promise<Tensors>;
  /** Brings tensors of the host to where segments read them. */
  put(slot: string, tensors: Tensors): Promise<Tensors>;
  /** Some rows of x [n, width], as the first of `count`; what the others hold is finite. */
  gather(x: Tensor, places: Int32Array, count: number, slot: string): Promise<Tensor>;
  /** The other way: [n, width] of zeros, or `onto`, with the first rows of `rows` at their places. */
  scatter(rows: Tensor, places: Int32Array, n: number, onto: Tensor | undefined, slot: string): Promise<Tensor>;
  /** The numbers of a matrix; on the host they are the tensor's own. */
  read(matrix: Tensor): Promise<Float32Array>;
  /** Bytes held. */
  readonly bytes: number;
  release(): Promise<void>;
}

/** Of the CPU: a slot is one buffer that grows to its largest use. */
export class HostMemory implements Memory {
  readonly #workspace = new Workspace();

  async run(
    session: Session,
    from: readonly Places[],
    slot: string | ((output: string) => string),
    into: Places = {},
  ): Promise<Tensors> {
    const bySlot = Map.groupBy(
      [...session.program.outputs].filter(([name]) => !into[name]),
      ([name]) => (typeof slot === 'string' ? slot : slot(name)),
    );
    const places: Record<string, Tensor | null> = { ...into };
    for (const [name, types] of bySlot) Object.assign(places, this.#workspace.tensors(name, new Map(types)));
    return session.run(from, places);
  }

  async put(_slot: string, tensors: Tensors): Promise<Tensors> {
    return tensors;
  }

  async gather(x: Tensor, places: Int32Array, count: number, slot: string): Promise<Tensor> {
    const width = x.dims[1]!;
    const made = this.#matrix(slot, [count, width]);
    const [from, to] = [numbers(x), numbers(made)];
    places.forEach((place, i) => to.set(from.subarray(place * width, (place + 1) * width), i * width));
    to.fill(0, places.length * width);
    return made;
  }

  async scatter(rows: Tensor, places: Int32Array, n: number, onto: Tensor | undefined, slot: string): Promise<Tensor> {
    const width = rows.dims[1]!;
    const made = onto ?? this.#matrix(slot, [n, width]);
    const [from, to] = [numbers(rows), numbers(made)];
    if (!onto) to.fill(0);
    places.forEach((place, i) => to.set(from.subarray(i * width, (i + 1) * width), place * width));
    return made;
  }

  async read(matrix: Tensor): Promise<Float32Array> {
    return numbers(matrix);
  }

  get bytes(): number {
    return this.#workspace.bytes;
  }

  async release(): Promise<void> {
    this.#workspace.release();
  }

  #matrix(slot: string, shape: readonly [number, number]): Tensor {
    const type: TensorType = { shape, dtype: 'float32' };
    return this.#workspace.tensors(slot, new Map([['x', type]]))['x']!;
  }
}
