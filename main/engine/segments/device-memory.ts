/** @file Tensors on a graphics processor (WebGPU): sessions share the device, so what one gives another takes where it lies. */
import type { Tensor } from 'onnxruntime-node';
import { emit, type Program } from '../graph/emit.ts';
import { add, mul, rows } from '../graph/ops/index.ts';
import { FREE, Scope, type DType, type Value } from '../graph/value.ts';
import type { Memory } from './memory.ts';
import { integers, numbers, Session, tensor, type Places, type Tensors } from './session.ts';
import { bytesOf as typeBytes } from './workspace.ts';

/** Bytes that were carried to the device and back. */
export interface Traffic {
  up: number;
  down: number;
}

const DEVICE = { device: 'webgpu', threads: 1 } as const;

export class DeviceMemory implements Memory {
  readonly traffic: Traffic = { up: 0, down: 0 };
  readonly #slots = new Map<string, Tensor[]>();
  readonly #programs = new Map<string, Promise<Session>>();
  #kept = 0;

  async run(
    session: Session,
    from: readonly Places[],
    slot: string | ((output: string) => string),
    into: Places = {},
  ): Promise<Tensors> {
    const feeds = session.feeds(from);
    const slotOf = (name: string): string => (typeof slot === 'string' ? slot : slot(name));
    const fed = new Set(Object.values(feeds));
    const outputs = [...session.program.outputs.keys()];
    const used = new Set(outputs.filter((name) => !(name in into)).map(slotOf));
    // What is freed before the run is there for its results; what it reads is freed after it.
    const read: Tensor[] = [];
    for (const name of used) {
      for (const old of this.#slots.get(name) ?? [])
        if (fed.has(old)) read.push(old);
        else old.dispose();
      this.#slots.set(name, []);
    }
    const made = await this.#run(session, feeds, Object.fromEntries(outputs.map((name) => [name, into[name] ?? null])));
    for (const old of read) old.dispose();
    for (const name of outputs)
      if (!(name in into)) this.#slots.get(slotOf(name))!.push(made[name]!);
      else this.#kept += bytesOf(made[name]!);
    return made;
  }

  async put(slot: string, tensors: Tensors): Promise<Tensors> {
    for (const old of this.#slots.get(slot) ?? []) old.dispose();
    const put: Record<string, Tensor> = {};
    for (const [name, each] of Object.entries(tensors)) put[name] = await this.#upload(each);
    this.#slots.set(slot, Object.values(put));
    return put;
  }

  /** A tensor that stays until the device is given up. */
  async keep(onHost: Tensor): Promise<Tensor> {
    this.#kept += bytesOf(onHost);
    return this.#upload(onHost);
  }

  async gather(x: Tensor, places: Int32Array, count: number, slot: string): Promise<Tensor> {
    const session = await this.#program('gather', 'y', (scope) =>
      rows(scope.input('x', [FREE, FREE]), scope.input('at', [FREE], 'int64')),
    );
    // The first row stands for those that nobody asked for.
    const at = new Int32Array(count);
    at.set(places);
    return (await this.run(session, [{ x, at: integers(at, [count]) }], slot))['y']!;
  }

  async scatter(from: Tensor, places: Int32Array, n: number, onto: Tensor | undefined, slot: string): Promise<Tensor> {
    const session = await this.#program(onto ? 'scatter onto' : 'scatter', 'y', (scope) => {
      const row = rows(scope.input('x', [FREE, FREE]), scope.input('at', [FREE], 'int64'));
      const spread = mul(row, scope.input('share', [FREE, 1]));
      return onto ? add(scope.input('onto', [FREE, FREE]), spread) : spread;
    });
    // As a gather of each place's row, none of it where it has none: no two threads then write to one place.
    const [at, share] = [new Int32Array(n), new Float32Array(n)];
    places.forEach((place, row) => {
      at[place] = row;
      share[place] = 1;
    });
    const feeds = { x: from, at: integers(at, [n]), share: tensor(share, [n, 1]), ...(onto ? { onto } : {}) };
    return (await this.run(session, [feeds], slot))['y']!;
  }

  async read(matrix: Tensor): Promise<Float32Array> {
    const session = await this.#program('read', 'x', (scope) => scope.input('x', [FREE, FREE]), 'host');
    const { x } = await this.#run(session, { x: matrix }, { x: null });
    return numbers(x!);
  }

  get bytes(): number {
    return this.#kept + [...this.#slots.values()].flat().reduce((sum, each) => sum + bytesOf(each), 0);
  }

  async release(): Promise<void> {
    for (const tensors of this.#slots.values()) for (const each of tensors) each.dispose();
    this.#slots.clear();
    const programs = [...this.#programs.values()];
    this.#programs.clear();
    for (const session of programs) await (await session).release();
  }

  /** Frees a tensor of the caller's own. */
  free(own: Tensor): void {
    this.#kept -= bytesOf(own);
    own.dispose();
  }

  /** A program that is compiled once. */
  program(name: string, build: () => Program, results: 'device' | 'host' = 'device'): Promise<Session> {
    let known = this.#programs.get(name);
    if (!known) this.#programs.set(name, (known = Session.create(build(), DEVICE, { results })));
    return known;
  }

  async #upload(onHost: Tensor): Promise<Tensor> {
    const { type, dims } = onHost;
    const session = await this.#program(`upload ${type} ${dims.length}`, 'x', (scope) =>
      scope.input(
        'x',
        dims.map(() => FREE),
        type as DType,
      ),
    );
    return (await this.#run(session, { x: onHost }, { x: null }))['x']!;
  }

  async #run(session: Session, feeds: Tensors, into: Places): Promise<Tensors> {
    for (const name of session.program.inputs.keys())
      if (feeds[name]!.location === 'cpu') this.traffic.up += bytesOf(feeds[name]!);
    const made = await session.run([feeds], into);
    for (const each of Object.values(made)) if (each.location === 'cpu') this.traffic.down += bytesOf(each);
    return made;
  }

  /** @param output its name; that of the input where it is only carried. */
  #program(name: string, output: 'x' | 'y', build: (scope: Scope) => Value, results?: 'host'): Promise<Session> {
    return this.program(name, () => emit(new Map([[output, build(new Scope())]]), 'webgpu'), results);
  }
}

const bytesOf = ({ dims, type }: Tensor): number => typeBytes({ shape: dims, dtype: type as DType });
