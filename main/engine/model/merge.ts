/** @file What was trained, folded into the weights it stands on: W + scale * B A (Hu et al. 2021, section 4.1), or weights that took their place. */
import type { WeightSource } from '../../formats/model.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { scaleOf, type LoraSettings } from '../../formats/peft.ts';
import type { TunedModel } from './tuned.ts';
import { inFile, MAGNITUDE, parameter } from './parameters.ts';
import { transposedWeights, turned } from './weights.ts';

/** What was trained, by the base model's names and as its files keep it: `model.layers.0.self_attn.q_proj.lora_A.weight`, `lm_head.weight`. */
export interface Mergeable {
  /** Of the adapter; null where all weights were trained. */
  readonly lora: LoraSettings | null;
  has(name: string): boolean;
  read(name: string): Promise<Float32Array> | Float32Array;
}

/** The base's weights by the same names, each read as it is after training. float32. */
export function mergedWeights({ lora, has, read }: Mergeable, base: WeightSource, spec: ModelSpec): WeightSource {
  const transposed = transposedWeights(spec);
  return {
    names: base.names,
    info: (name) => ({ shape: base.info(name).shape, storage: 'F32' }),
    async read(name) {
      const { shape } = base.info(name);
      // Here a linear layer is [out, in], as it is trained; some files keep it the other way round.
      const stored = (own: Float32Array): Float32Array => (transposed.has(name) ? turned(own, shape[1]!) : own);
      if (has(name)) return (await read(name)).slice();
      const part = (what: string): string => name.replace(/\.weight$/, `.${what}`);
      const weight = await base.read(name);
      if (!lora || !has(part('lora_A.weight'))) return weight;
      const merged = addProduct(
        transposed.has(name) ? turned(weight, shape[0]!) : weight,
        await read(part('lora_B.weight')),
        await read(part('lora_A.weight')),
        lora.rank,
        scaleOf(lora),
      );
      return stored(lora.useDora ? withLengths(merged, await read(part(MAGNITUDE))) : merged);
    },
  };
}

/** What a model in memory has learned. */
export function mergeableOf({ parameters, lora }: TunedModel): Mergeable {
  const names = new Set(parameters.entries.map((entry) => entry.name));
  const entry = (name: string) => parameters.entries.find((each) => each.name === name)!;
  return {
    lora,
    has: (name) => names.has(name),
    read: (name) => inFile(entry(name), parameter(parameters, name)),
  };
}

/** What a file holds. */
export function mergeableIn({
  lora,
  weights,
}: {
  readonly lora: LoraSettings | null;
  readonly weights: WeightSource;
}): Mergeable {
  const names = new Set(weights.names);
  return { lora, has: (name) => names.has(name), read: (name) => weights.read(name) };
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

/** Each row of [out, in] stretched to the length given for it (DoRA, Liu et al. 2024, equation 5), in place. */
function withLengths(weight: Float32Array, lengths: Float32Array): Float32Array {
  const width = weight.length / lengths.length;
  lengths.forEach((length, row) => {
    const cut = weight.subarray(row * width, (row + 1) * width);
    let sum = 0;
    for (const value of cut) sum += value * value;
    const factor = length / Math.sqrt(sum);
    for (let i = 0; i < width; i++) cut[i]! *= factor;
  });
  return weight;
}
