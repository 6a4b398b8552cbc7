/** @file An adapter folded into the weights it stands on: W + scale * B A (Hu et al. 2021, section 4.1). */
import type { WeightSource } from '../../formats/model.ts';
import type { LoraModel } from './model.ts';
import { parameter } from './parameters.ts';

/** The base's weights by the same names, each read with the adapter's product added where it has one. float32. */
export function mergedWeights(model: LoraModel, base: WeightSource): WeightSource {
  const { parameters, options } = model;
  const adapted = new Set(parameters.entries.map((entry) => entry.name));
  const scale = options.alpha / options.rank;
  return {
    names: base.names,
    info: (name) => ({ shape: base.info(name).shape, storage: 'F32' }),
    async read(name) {
      const weight = await base.read(name);
      const stem = name.replace(/\.weight$/, '');
      if (!adapted.has(`${stem}.lora_A.weight`)) return weight;
      const [a, b] = [parameter(parameters, `${stem}.lora_A.weight`), parameter(parameters, `${stem}.lora_B.weight`)];
      return addProduct(weight, b, a, options.rank, scale);
    },
  };
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
