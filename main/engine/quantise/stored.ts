/** @file What a base was rounded by, as tensors of a file: the rows that are looked at, in int8 the peaks that were seen, the largest weight. */
import type { WeightSource } from '../../formats/model.ts';
import type { TensorToWrite } from '../../formats/safetensors.ts';
import type { Rounding } from './freeze.ts';

const PEAKS = 'peaks.';
const ROWS = 'rows.';
const LARGEST = 'largest';

/** Ids are whole numbers below 2^24, which float32 holds exactly. */
export const roundingTensors = ({ peaks, rows, largest }: Rounding): TensorToWrite[] => [
  { name: LARGEST, shape: [1], data: Float32Array.of(largest) },
  ...rows.map((ids, i) => ({ name: `${ROWS}${i}`, shape: [ids.length], data: Float32Array.from(ids) })),
  ...[...peaks].map(([name, data]) => ({ name: `${PEAKS}${name}`, shape: [data.length], data })),
];

export async function readRounding(source: WeightSource): Promise<Rounding> {
  const peaks = new Map<string, Float32Array>();
  const rows: Int32Array[] = [];
  for (const name of source.names) {
    if (name.startsWith(PEAKS)) peaks.set(name.slice(PEAKS.length), await source.read(name));
    if (name.startsWith(ROWS)) rows[Number(name.slice(ROWS.length))] = Int32Array.from(await source.read(name));
  }
  return { peaks, rows, largest: (await source.read(LARGEST))[0]! };
}
