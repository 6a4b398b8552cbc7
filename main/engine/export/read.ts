/** @file Runs an exported ONNX model as any program with ONNX Runtime would: from its files, with its own cache. */
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import type { Batch, Decoder } from '../types.ts';

/** Who reads. */
export const RUNTIME = `ONNX Runtime ${env.versions.node ?? ''}`.trim();

/** Keys and values as the model gave them, by the names under which it takes them again. */
type Cache = Readonly<Record<string, Tensor>>;

const PRESENT = 'present.';
const PAST = 'past_key_values.';

/** A decoder with a cache in a file; one document at a time. */
export class OnnxReader {
  readonly #session: InferenceSession;
  readonly #maxTokens: number;

  private constructor(session: InferenceSession, maxTokens: number) {
    this.#session = session;
    this.#maxTokens = maxTokens;
  }

  /** @throws what ONNX Runtime says of a file that it cannot load. */
  static async open(
    path: string,
    { threads, maxTokens }: { readonly threads: number; readonly maxTokens: number },
  ): Promise<OnnxReader> {
    const session = await InferenceSession.create(path, {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      logSeverityLevel: 3,
    });
    return new OnnxReader(session, maxTokens);
  }

  /** Negative log likelihood of each labelled token in nats, in the order of the batch's labels. */
  async losses({ rows, length, ids, documents, labels }: Batch): Promise<Float32Array> {
    const losses: number[] = [];
    for (let at = 0; at < rows * length;) {
      const document = documents[at]!;
      const rowEnd = (Math.floor(at / length) + 1) * length;
      let end = at;
      while (end < rowEnd && documents[end] === document) end++;
      if (document !== 0 && labels.subarray(at, end).some((label) => label >= 0)) {
        const { logits, vocab } = await this.run(ids.subarray(at, end), {});
        for (let i = at; i < end; i++)
          if (labels[i]! >= 0)
            losses.push(negativeLogLikelihood(logits.subarray((i - at) * vocab, (i - at + 1) * vocab), labels[i]!));
      }
      at = end;
    }
    return Float32Array.from(losses);
  }

  generator(): Decoder {
    let cache: Cache = {};
    let length = 0;
    const advance = async (ids: Int32Array): Promise<Float32Array> => {
      const { logits, vocab, cache: next } = await this.run(ids, cache, length);
      cache = next;
      length += ids.length;
      return logits.slice(-vocab);
    };
    return {
      maxTokens: this.#maxTokens,
      prefill: (ids) => {
        [cache, length] = [{}, 0];
        return advance(Int32Array.from(ids));
      },
      step: (id) => advance(Int32Array.of(id)),
      release: () => {
        cache = {};
        return Promise.resolve();
      },
    };
  }

  /** Logits [ids.length, vocab] of `ids` after what is cached, and the cache with them. */
  async run(
    ids: Int32Array,
    cache: Cache,
    past = 0,
  ): Promise<{ readonly logits: Float32Array; readonly vocab: number; readonly cache: Cache }> {
    const integers = (count: number, at: (i: number) => number): Tensor =>
      new Tensor(
        'int64',
        BigInt64Array.from({ length: count }, (_, i) => BigInt(at(i))),
        [1, count],
      );
    const found = await this.#session.run({
      input_ids: integers(ids.length, (i) => ids[i]!),
      attention_mask: integers(past + ids.length, () => 1),
      position_ids: integers(ids.length, (i) => past + i),
      ...(past === 0 ? this.#empty() : cache),
    });
    const { logits, ...rest } = found;
    const next = Object.entries(rest).map(([name, t]) => [PAST + name.slice(PRESENT.length), halves(t)] as const);
    return {
      logits: logits!.data as Float32Array,
      vocab: logits!.dims[2]!,
      cache: Object.fromEntries(next) as Cache,
    };
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  /** A cache of nothing, of the type and shape that the model itself declares. */
  #empty(): Cache {
    const cache: Record<string, Tensor> = {};
    for (const meta of this.#session.inputMetadata) {
      if (!meta.isTensor || !meta.name.startsWith(PAST)) continue;
      const dims = meta.shape.map((length) => (typeof length === 'number' ? length : 0));
      dims[0] = 1;
      cache[meta.name] =
        meta.type === 'float16'
          ? halves(new Tensor('float16', new Uint16Array(0), dims))
          : new Tensor('float32', new Float32Array(0), dims);
    }
    return cache;
  }
}

/**
 * onnxruntime-node 1.30 takes halves as 16-bit words only, while onnxruntime-common makes a Float16Array of them where
 * the language has one: the words are put under it, as transformers.js does.
 */
function halves(tensor: Tensor): Tensor {
  if (tensor.type !== 'float16' || tensor.data instanceof Uint16Array) return tensor;
  const { buffer, byteOffset, length } = tensor.data as unknown as Uint16Array;
  return Object.assign(tensor, { cpuData: new Uint16Array(buffer, byteOffset, length) });
}

/** -log softmax(logits)[label] */
export function negativeLogLikelihood(logits: Float32Array, label: number): number {
  let largest = -Infinity;
  for (const value of logits) if (value > largest) largest = value;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - largest);
  return Math.log(sum) + largest - logits[label]!;
}
