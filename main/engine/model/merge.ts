/** @file An adapter folded into the weights it stands on: W + scale * B A (Hu et al. 2021, section 4.1). */
import type { WeightSource } from '../../formats/model.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { PEFT_PREFIX, type Adapter } from '../../formats/peft.ts';
import type { LoraModel } from './model.ts';
import { parameter } from './parameters.ts';

/** An adapter's matrices by the base model's names: `model.layers.0.self_attn.q_proj.lora_A.weight`. */
export interface MergeableAdapter {
  readonly rank: number;
  readonly alpha: number;
  has(name: string): boolean;
  read(name: string): Promise<Float32Array> | Float32Array;
}

/**
 * The base's weights by the same names, each read with the adapter's product added where it has one. float32.
 * @param transposed the model keeps its linear layers as [in, out].
 */
export function mergedWeights(
  adapter: MergeableAdapter,
  base: WeightSource,
  { transposed }: Pick<ModelSpec, 'transposed'>,
): WeightSource {
  const { rank, alpha } = adapter;
  return {
    names: base.names,
    info: (name) => ({ shape: base.info(name).shape, storage: 'F32' }),
    async read(name) {
      const weight = await base.read(name);
      const [a, b] = ['lora_A', 'lora_B'].map((part) => name.replace(/\.weight$/, `.${part}.weight`)) as [
        string,
        string,
      ];
      if (!adapter.has(a)) return weight;
      const [first, second] = [await adapter.read(b), await adapter.read(a)];
      const [rows, columns] = transposed ? [turned(second, rank), turned(first, first.length / rank)] : [first, second];
      return addProduct(weight, rows, columns, rank, alpha / rank);
    },
  };
}

/** The adapter of a model in memory. */
export function adapterOf({ parameters, options }: LoraModel): MergeableAdapter {
  const names = new Set(parameters.entries.map((entry) => entry.name));
  return { ...options, has: (name) => names.has(name), read: (name) => parameter(parameters, name) };
}

/** An adapter in a file of PEFT's. */
export const adapterIn = ({ lora, weights }: Pick<Adapter, 'lora' | 'weights'>): MergeableAdapter => ({
  ...lora,
  has: (name) => weights.names.includes(PEFT_PREFIX + name),
  read: (name) => weights.read(PEFT_PREFIX + name),
});

/** [rows, columns] as [columns, rows]: (B A)' = A' B'. */
function turned(data: Float32Array, rows: number): Float32Array {
  const columns = data.length / rows;
  return Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** weight [out, in] + scale * b [out, rank] a [rank, in], in place. Sums in float64, rounded once. */
function addProduct(weight: Float32Array, b: Float32Array, a: Float32Array, rank: number, scale: number): Float32Array {
  const outs = b.length / rank;
  const ins = a.length / rank;
  const row = new Float64Array(ins);
  for (let out = 0; out < outs; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * b[out * rank + r]!;
      for (let i = 0, from = r * ins; i < ins; i++, from++) row[i]! += factor * a[from]!;
    }
    for (let i = 0, at = out * ins; i < ins; i++, at++) weight[at]! += row[i]!;
  }
  return weight;
}
