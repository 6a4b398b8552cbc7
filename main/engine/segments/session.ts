/** @file Runs programs with ONNX Runtime: sessions with preallocated results, and a bounded number of them. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { Precision } from '../../contract/recipe.ts';
import { NOTHING, type Program } from '../graph/emit.ts';
import type { Device } from '../graph/op.ts';
import { sizeOf, type DType, type Shape } from '../graph/value.ts';

/** What weights' numbers may be; 16-bit words are halves. */
export type WeightData = Float32Array | Uint16Array | Int8Array | Uint8Array;

export type Tensors = Readonly<Record<string, Tensor>>;
/** Where results go: into a tensor that is there, or null for one that a graphics processor makes for them. */
export type Places = Readonly<Record<string, Tensor | null>>;

export interface RuntimeOptions {
  readonly device: Device;
  /** Threads that work on one op. Results are the same bits only for the same number. */
  readonly threads: number;
  /** Of the frozen base. */
  readonly precision: Precision;
}

/** Settings of the runtime that the binding knows no name for. */
const EXTRA: Readonly<Record<Device, Readonly<Record<string, Readonly<Record<string, string>>>>>> = {
  cpu: {
    session: {
      // A masked score's exponential is a denormal number, which a CPU computes with slowly; as zero it is as good.
      set_denormal_as_zero: '1',
    },
    // A weight that is widened in pieces is cut as it is wanted: as one Split all pieces would be copied before the first.
    optimization: { disable_specified_optimizers: 'GatherSliceToSplitFusion' },
  },
  webgpu: {
    // An op that the device lacks would run on the CPU unseen, with everything it needs carried there and back.
    session: { disable_cpu_ep_fallback: '1' },
    // Products are written as the device does them best: the runtime is not to put a Transpose back into its Gemm.
    optimization: { disable_specified_optimizers: 'GemmTransposeFusion' },
  },
};

/** What threads do while they wait for the next op of a run. */
type Idle = 'sleep' | 'spin';
const IDLE: Readonly<Record<Idle, Readonly<Record<string, string>>>> = {
  // Where they spin, a step takes up to twice as long as soon as another program wants a core.
  sleep: { 'intra_op.allow_spinning': '0' },
  // For a token of an answer, whose ops are so small that waking a thread costs as much as they do. Between runs they sleep.
  spin: { 'intra_op.allow_spinning': '1', force_spinning_stop: '1' },
};

/** What a person can do where a graphics processor, its driver or its memory gives up. */
export const DEVICE_HINT =
  'What was saved is kept. Clone the run with a smaller maxLength or batchSize or with activationCheckpointing, which take less of its memory, or with device cpu.';

/** Throws DEVICE_FAILED. */
export function deviceFailed(error: unknown): never {
  const said = error instanceof Error ? error.message : String(error);
  // A buffer that could not be had is told of where it is first used.
  const what = /out of memory|allocat|invalid buffer|max buffer size|too many storage buffers/i.test(said)
    ? 'has no room for what a step needs'
    : /lost/i.test(said)
      ? 'was lost: it was taken away, or its driver began anew'
      : 'failed';
  throw new FettleError('DEVICE_FAILED', `The graphics processor ${what}.`, DEVICE_HINT, {
    details: { said: said.slice(0, 1000) },
    cause: error,
  });
}

/** Bytes of results that are copied sooner than a run can be ended without it. */
const COPIED = 2 ** 16;

/**
 * Besides what it writes into memory of ours, the runtime's binding hands out a copy of each result, made one after the
 * other when all is computed and written: as much again as a step saves, in time and in memory. It knows no lists; asked
 * for one as the first result it gives up there, and nothing is copied (docs/decisions/engine-speed.md). A binding that
 * looked at its results before it writes them would leave our memory as it was: its version is fixed, and copies.test.ts
 * looks.
 */
function handedNothing(error: unknown): void {
  if (!(error instanceof Error && error.message.startsWith('Non tensor type'))) throw error;
}

/** A compiled program. */
export class Session {
  readonly program: Program;
  readonly #session: InferenceSession;
  readonly #device: Device;

  private constructor(program: Program, session: InferenceSession, device: Device) {
    this.program = program;
    this.#session = session;
    this.#device = device;
  }

  /**
   * `results` of a program on a graphics processor: they stay there, unless they are asked for on the host;
   * `idle`: the processor's threads within a run.
   */
  static async create(
    program: Program,
    { device, threads }: Pick<RuntimeOptions, 'device' | 'threads'>,
    { results = 'device', idle = 'sleep' }: { readonly results?: 'device' | 'host'; readonly idle?: Idle } = {},
  ): Promise<Session> {
    const extra = EXTRA[device];
    const opening = InferenceSession.create(program.bytes, {
      executionProviders: [device],
      intraOpNumThreads: threads,
      graphOptimizationLevel: 'all',
      // Else each session keeps an arena of its own, grown by doubling. From one heap they share what the largest needs:
      // 200 to 300 MB less with SmolLM2, in the same time (docs/decisions/estimates.md).
      enableCpuMemArena: false,
      // Nor does a session's second run ask for one block for all that lies between its ops, beside the heap that its first
      // one left: up to 6% less, in the same time.
      enableMemPattern: false,
      logSeverityLevel: 3,
      ...(device === 'webgpu' && results === 'device' ? { preferredOutputLocation: 'gpu-buffer' } : {}),
      extra: device === 'cpu' ? { ...extra, session: { ...extra['session'], ...IDLE[idle] } } : extra,
    });
    const session = device === 'cpu' ? await opening : await opening.catch(deviceFailed);
    return new Session(program, session, device);
  }

  /** What it needs of `from`, by its inputs' names; later records win. Throws TypeError where an input is in none of them. */
  feeds(from: readonly Places[]): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {};
    for (const name of this.program.inputs.keys()) {
      const tensor = from.findLast((record) => record[name])?.[name];
      if (!tensor) throw new TypeError(`nothing was fed for ${name}`);
      feeds[name] = tensor;
    }
    return feeds;
  }

  /** Takes its inputs from `from` as `feeds` does and puts the outputs where `into` says. @returns them. Throws TypeError where it says nothing. */
  async run(from: readonly Places[], into: Places): Promise<Tensors> {
    const feeds = this.feeds(from);
    const onHost = this.#device === 'cpu';
    const fetches: Record<string, Tensor | null> = {};
    let bytes = 0;
    for (const name of this.program.outputs.keys()) {
      const place = into[name];
      if (place === undefined || (onHost && !place)) throw new TypeError(`no tensor for the output ${name}`);
      fetches[name] = place;
      if (onHost) bytes += (place!.data as ArrayBufferView).byteLength;
    }
    if (onHost) {
      const first = bytes > COPIED ? { [NOTHING]: null } : {};
      await this.#session.run(feeds, { ...first, ...fetches }).catch(handedNothing);
      return fetches as Tensors;
    }
    const results = await this.#session.run(feeds, fetches).catch(deviceFailed);
    return Object.fromEntries(Object.entries(fetches).map(([name, place]) => [name, place ?? results[name]!]));
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Compiled segments kept for each kind of layer; each holds working memory of its own. */
const SEGMENTS_KEPT = 12;

/** The compiled segments in use, by kind and shape; the one that was not used longest goes when there are too many. */
export class SessionCache {
  readonly options: RuntimeOptions;
  readonly #limit: number;
  readonly #entries = new Map<string, { readonly sessions: readonly Session[]; readonly value: unknown }>();

  /** @param kinds of layers, each compiled by itself. */
  constructor(options: RuntimeOptions, kinds: number) {
    this.options = options;
    this.#limit = SEGMENTS_KEPT * kinds;
  }

  /** An empty one for the same model, with so many threads. */
  beside(threads: number): SessionCache {
    return new SessionCache({ ...this.options, threads }, this.#limit / SEGMENTS_KEPT);
  }

  /** The segment known by `key` (which must name all that its programs depend on), compiled by `build` if it is not here. */
  async get<T extends Readonly<Record<string, unknown>>>(key: string, build: () => Promise<T>): Promise<T> {
    const known = this.#entries.get(key);
    if (known) {
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return known.value as T;
    }
    while (this.#entries.size >= this.#limit) {
      const [oldest, entry] = this.#entries.entries().next().value!;
      this.#entries.delete(oldest);
      for (const session of entry.sessions) await session.release();
    }
    const value = await build();
    const sessions = Object.values(value).filter((part) => part instanceof Session);
    this.#entries.set(key, { sessions, value });
    return value;
  }

  async release(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { sessions } of entries) for (const session of sessions) await session.release();
  }
}

/** A tensor over memory that is already there. Throws RangeError where its length is not the shape's. */
export const tensor = (data: Float32Array, shape: Shape): Tensor => new Tensor('float32', data, shape);

/**
 * A tensor of halves, as 16-bit words. The runtime's binding takes them for what they are, and knows no Float16Array, which
 * its own wrapper would make of them.
 */
export const halves = (words: Uint16Array, shape: Shape): Tensor =>
  Object.defineProperty(new Tensor('float16', words, shape), 'data', { value: words });

/** A tensor of any type that weights have, over memory that is already there. */
export const weightTensor = (type: DType, data: WeightData, shape: Shape): Tensor =>
  type === 'float16' ? halves(data as Uint16Array, shape) : new Tensor(type as 'uint8', data as Uint8Array, shape);

/** int64 from 32-bit integers. */
export const integers = (data: Int32Array, shape: Shape): Tensor =>
  new Tensor('int64', BigInt64Array.from(data, BigInt), shape);

export const zeros = (shape: Shape): Tensor => tensor(new Float32Array(sizeOf(shape)), shape);

/** The numbers of a float32 tensor in memory. */
export function numbers(t: Tensor): Float32Array {
  if (!(t.data instanceof Float32Array)) throw new TypeError('not a float32 tensor in memory');
  return t.data;
}
