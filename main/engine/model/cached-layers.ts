/** @file All layers over new tokens after a cache of keys and values, and that cache. */
import type { Tensor } from 'onnxruntime-node';
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import { numbers, zeros, type Tensors } from '../segments/session.ts';
import type { Workspace } from '../segments/workspace.ts';
import { byLayer, type Network, type Trained } from './network.ts';
import { decodeSegment } from './segments.ts';

/** The cache grows by so many tokens; a program is compiled for each size. */
export const CACHE_STEP = 128;

/**
 * Layers of one kind that a program runs at a time for one token: between two runs the threads fall asleep and hundreds of
 * tensors are handed over, which costs a token as much as a layer's product. Many tokens are worth a run for each layer.
 */
const LAYERS_AT_ONCE = 6;

interface CachedRun {
  readonly network: Network;
  readonly trained: Trained | undefined;
  /** Where results go; what it held before is gone. */
  readonly workspace: Workspace;
  readonly shape: { readonly batch: number; readonly time: number; readonly past: number };
  /** Positions, tables and, where there is a past, its mask. */
  readonly shared: (kind: LayerKind) => Promise<Tensors>;
  /** Of each layer; not looked at where `past` is 0. */
  readonly cache: readonly LayerCache[];
  /** [batch * time, hidden] */
  readonly x: Tensor;
}

/** @returns hidden states y [batch * time, hidden], and each layer's new keys and values [batch, kvHeads, time, headDim]. */
export async function runCachedLayers(run: CachedRun): Promise<{ readonly y: Tensor; readonly made: LayerCache[] }> {
  const { network, trained, workspace, shape, cache } = run;
  const { spec } = network;
  const shared = await byLayer(spec, run.shared);
  const made: LayerCache[] = [];
  let y = run.x;
  for (const [index, { start, count }] of groupsOf(spec.kinds, shape.time === 1 ? LAYERS_AT_ONCE : 1).entries()) {
    const kind = spec.kinds[start]!;
    const segment = await decodeSegment(network.cache, spec, { ...shape, kind, count, trained: trained?.shape });
    const fed: Record<string, Tensor> = { ...shared[start]!, '0.x': y };
    for (let i = 0; i < count; i++) {
      const { k, v } = cache[start + i] ?? {};
      const past = k && v ? { 'past.k': k, 'past.v': v } : {};
      for (const record of [...network.layerWeights(start + i, trained), past])
        for (const [name, value] of Object.entries(record)) fed[`${i}.${name}`] = value;
    }
    const out = workspace.tensors(index, segment.forward.program.outputs);
    await segment.forward.run([fed], out);
    for (let i = 0; i < count; i++) made.push({ k: out[`${i}.k`]!, v: out[`${i}.v`]! });
    y = out[`${count}.x`]!;
  }
  return { y, made };
}

/** Layers that follow each other and are of one kind, `most` of them at a time, or about as many where the last would be fewer. */
function groupsOf(kinds: readonly LayerKind[], most: number): { start: number; count: number }[] {
  const groups: { start: number; count: number }[] = [];
  for (let start = 0; start < kinds.length;) {
    const end = kinds.findIndex((kind, layer) => layer > start && kind !== kinds[start]);
    const alike = (end < 0 ? kinds.length : end) - start;
    const size = most === 1 ? 1 : evenSize(alike, most);
    for (let at = 0; at < alike; at += size) groups.push({ start: start + at, count: Math.min(size, alike - at) });
    start += alike;
  }
  return groups;
}

/** Near `most` the size that divides `count`, so that one program serves all; `most` where none does. */
const evenSize = (count: number, most: number): number =>
  [0, 1, -1, 2, -2].map((off) => most + off).find((size) => count % size === 0) ?? most;

/** Keys and values of a layer, [rows, kvHeads, capacity, headDim]. */
export interface LayerCache {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Caches of another capacity that hold the first `lengths` tokens of each row. */
export function grown(
  old: readonly LayerCache[],
  rows: number,
  before: number,
  capacity: number,
  lengths: readonly number[],
  spec: ModelSpec,
): LayerCache[] {
  const shape = [rows, spec.kvHeads, capacity, spec.headDim];
  return Array.from({ length: spec.layers }, (_, layer) => {
    const next = { k: zeros(shape), v: zeros(shape) };
    const from = old[layer];
    if (from)
      for (const name of ['k', 'v'] as const)
        for (const [row, count] of lengths.entries())
          copyHeads(
            { of: from[name], length: before, row, at: 0 },
            { of: next[name], length: capacity, row, at: 0 },
            count,
            spec,
          );
    return next;
  });
}

/** A place in a tensor [rows, heads, length, d]. */
interface Place {
  readonly of: Tensor;
  readonly length: number;
  readonly row: number;
  readonly at: number;
}

/** Copies `count` tokens of each head of a row from one place to another. */
export function copyHeads(
  from: Place,
  to: Place,
  count: number,
  { kvHeads, headDim: d }: { readonly kvHeads: number; readonly headDim: number },
): void {
  const [source, target] = [numbers(from.of), numbers(to.of)];
  const start = ({ row, length, at }: Place, head: number): number => ((row * kvHeads + head) * length + at) * d;
  for (let head = 0; head < kvHeads; head++) {
    const begin = start(from, head);
    target.set(source.subarray(begin, begin + count * d), start(to, head));
  }
}
