/** @file Causal attention by blocks of queries, with grouped keys and values, rotary positions, windows, soft caps, and its own way back. */
import { keep, withVjp } from '../autodiff/gradient.ts';
import {
  accumulate,
  add,
  bmm,
  concat,
  mul,
  pad,
  reshape,
  rotary,
  slice,
  softmax,
  split,
  sub,
  sumLast,
  tanh,
  transpose,
} from '../graph/ops/index.ts';
import type { Scope, Shape, Value } from '../graph/value.ts';

export interface AttentionShape {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Factor of the scores. */
  readonly scale: number;
  /** Scores s become cap tanh(s / cap). */
  readonly softCap: number | undefined;
  /** A token sees itself and window - 1 tokens before it; undefined where that is all there are. */
  readonly window: number | undefined;
  /** Pairs of each head that are turned by their positions, and rows of the tables; undefined where positions are learned. */
  readonly rotary: { readonly pairs: number; readonly table: number } | undefined;
}

/** Queries in a block, unless told: each block skips the keys after its last query, and those before its first one's window. */
export const QUERY_BLOCK = 128;

/** What is added to a score that must not count; exp of it is 0 in float32, and it is no infinity, so that no row becomes NaN. */
export const MASKED = -1e9;

/** First and last-plus-one query of each block. */
export function queryBlocks(time: number, queries = QUERY_BLOCK): (readonly [number, number])[] {
  return Array.from({ length: Math.ceil(time / queries) }, (_, i) => [i * queries, Math.min(time, (i + 1) * queries)]);
}

/** The first key that a query of the block from `start` on may see. */
export const firstKey = (start: number, window: number | undefined): number =>
  window === undefined ? 0 : Math.max(0, start - window + 1);

/**
 * q [rows, heads * d] and k, v [rows, kvHeads * d] turned by their positions and laid out by head:
 * q [batch, kvHeads, group, time, d], k and v [batch, kvHeads, time, d].
 * Inputs it declares: positions int64 [batch, time], cos and sin [table, pairs].
 */
export function positioned(scope: Scope, s: AttentionShape, q: Value, k: Value, v: Value): [Value, Value, Value] {
  const { batch, time, heads, kvHeads, headDim: d } = s;
  const byHead = (x: Value): Value => transpose(reshape(x, [batch, time, kvHeads, d]), [0, 2, 1, 3]);
  const turned = (x: Value, n: number): Value => turn(scope, s, x, n);
  return [
    transpose(reshape(turned(q, heads), [batch, time, kvHeads, heads / kvHeads, d]), [0, 2, 3, 1, 4]),
    byHead(turned(k, kvHeads)),
    byHead(v),
  ];
}

/** x [rows, n * d], each of its n heads turned. */
function turn(scope: Scope, { batch, time, headDim: d, rotary: r }: AttentionShape, x: Value, n: number): Value {
  if (!r) return x;
  const positions = scope.input('positions', [batch, time], 'int64');
  const [cos, sin] = [scope.input('cos', [r.table, r.pairs]), scope.input('sin', [r.table, r.pairs])];
  const whole = (heads: Value, width: number): Value =>
    rotary(reshape(heads, [batch, time, n * width]), positions, cos, sin);
  if (2 * r.pairs === d) return whole(x, d);
  const [moving, still] = split(reshape(x, [batch, time, n, d]), [2 * r.pairs, d - 2 * r.pairs], 3);
  return concat([reshape(whole(moving!, 2 * r.pairs), moving!.shape), still!], 3);
}

export interface TrainingAttention extends AttentionShape {
  /** Several documents in a row: each query block's mask is an input `mask.START`, [batch, 1, 1, queries, keys from the first it sees]. */
  readonly packed: boolean;
  /** Queries in a block. */
  readonly queries: number;
  /** Probabilities are saved for the backward pass; otherwise computed again from q and k, which takes less memory. */
  readonly saveProbabilities: boolean;
}

/** softmax(cap(q k' scale) + mask) v for every query of a row at once. */
export function trainingAttention(s: TrainingAttention): (scope: Scope, q: Value, k: Value, v: Value) => Value {
  const { batch, time, heads, kvHeads, headDim: d } = s;
  const group = heads / kvHeads;
  const alpha = s.scale;
  const blocks = queryBlocks(time, s.queries);
  const sizes = blocks.map(([start, end]) => end - start);
  /** [batch, kvHeads, group, n, m] with the group's queries as rows of one matrix. */
  const folded = (x: Value): Value => reshape(x, [batch, kvHeads, group * x.shape[3]!, x.shape[4]!]);
  const unfolded = (x: Value, n: number): Value => reshape(x, [batch, kvHeads, group, n, x.shape[3]!]);

  return (scope, q0, k0, v0) => {
    const [q, k, v] = positioned(scope, s, q0, k0, v0);
    [q, k, v].forEach(keep);
    const parts = split(q, sizes, 3).map((part, i) => {
      const [start, end] = blocks[i]!;
      const from = firstKey(start, s.window);
      const mask = s.packed
        ? scope.input(`mask.${start}`, [batch, 1, 1, end - start, end - from])
        : causalMask(scope, start, end, s.window);
      const [queries, keys, values] = [folded(part), slice(k, 2, from, end), slice(v, 2, from, end)];
      const scores = bmm(queries, keys, { transB: true, alpha });
      const probabilities = softmax(add(unfolded(capped(scores, s.softCap), end - start), mask));
      scores.keep = false;
      probabilities.keep = s.saveProbabilities;
      return { start, end, from, queries, keys, values, scores, probabilities: folded(probabilities) };
    });
    const joined = concat(
      parts.map((p) => unfolded(bmm(p.probabilities, p.values), p.end - p.start)),
      3,
    );
    const output = keep(reshape(transpose(joined, [0, 3, 1, 2, 4]), [batch * time, heads * d]));

    // dS = P (dP - rowsum(dP P)), and rowsum(dP P) = rowsum(dO O) (Dao et al. 2022, equation 4), over d numbers a row instead of time.
    return withVjp(output, [q, k, v], (dy) => {
      const byHead = (x: Value, n: number): Value =>
        transpose(reshape(x, [batch, time, kvHeads, group, n]), [0, 2, 3, 1, 4]);
      const dot = sumLast(reshape(mul(dy, output), [batch * time * heads, d]));
      const dots = split(byHead(dot, 1), sizes, 3);
      const dqs: Value[] = [];
      let [dk, dv]: (Value | undefined)[] = [];
      split(byHead(dy, d), sizes, 3).forEach((part, i) => {
        const { end, from, queries, keys, values, scores, probabilities } = parts[i]!;
        const dOutput = folded(part);
        const dProbabilities = bmm(dOutput, values, { transB: true });
        const dCapped = mul(probabilities, sub(dProbabilities, folded(dots[i]!)));
        const dScores = s.softCap === undefined ? dCapped : mul(dCapped, capSlope(scores, s.softCap));
        dqs.push(unfolded(bmm(dScores, keys, { alpha }), sizes[i]!));
        const dKeys = pad(bmm(dScores, queries, { transA: true, alpha }), 2, from, time - end);
        const dValues = pad(bmm(probabilities, dOutput, { transA: true }), 2, from, time - end);
        dk = dk ? accumulate(dk, dKeys) : dKeys;
        dv = dv ? accumulate(dv, dValues) : dValues;
      });
      return [concat(dqs, 3), dk!, dv!];
    });
  };
}

export interface CachedAttention extends AttentionShape {
  /** Keys and values that came before, of which a mask says which count; 0 where there are none. */
  readonly past: number;
}

/**
 * Attention of `time` new tokens to a cache and to each other. Inputs it declares: past.k and past.v
 * [batch, kvHeads, past, d], mask [batch, 1, queries, past], where queries is 1 if all see the same of the cache. `made` receives the new k and v, [batch, kvHeads, time, d].
 */
export function cachedAttention(
  s: CachedAttention,
  made: (k: Value, v: Value) => void,
): (scope: Scope, q: Value, k: Value, v: Value) => Value {
  const { batch, time, past, heads, kvHeads, headDim: d } = s;
  const group = heads / kvHeads;
  const alpha = s.scale;
  return (scope, q0, k0, v0) => {
    const [q, k, v] = positioned(scope, s, q0, k0, v0);
    made(k, v);
    const queries = reshape(q, [batch, kvHeads, group * time, d]);
    // One token's scores are seen alike by all of a group, so that its queries need no axis of their own.
    const unfolded = (length: number): Shape =>
      time === 1 ? [batch, kvHeads, group, length] : [batch, kvHeads, group, time, length];
    const scores = (keys: Value, length: number): Value =>
      reshape(capped(bmm(queries, keys, { transB: true, alpha }), s.softCap), unfolded(length));
    const fresh = time === 1 ? scores(k, time) : add(scores(k, time), causalMask(scope, 0, time, s.window));
    const all: Value[] = [fresh];
    const values = [v];
    if (past > 0) {
      const seen = s.window === undefined ? 1 : time;
      const mask = scope.input('mask', [batch, 1, seen, past]);
      all.unshift(
        add(
          scores(scope.input('past.k', [batch, kvHeads, past, d]), past),
          time === 1 ? mask : reshape(mask, [batch, 1, 1, seen, past]),
        ),
      );
      values.unshift(scope.input('past.v', [batch, kvHeads, past, d]));
    }
    const lengths = past > 0 ? [past, time] : [time];
    const last = fresh.shape.length - 1;
    const output = split(softmax(concat(all, last)), lengths, last)
      .map((p, i) => bmm(reshape(p, [batch, kvHeads, group * time, lengths[i]!]), values[i]!))
      .reduce((a, b) => add(a, b));
    const byTime = transpose(reshape(output, [batch, kvHeads, group, time, d]), [0, 3, 1, 2, 4]);
    return reshape(byTime, [batch * time, heads * d]);
  };
}

/** cap tanh(x / cap) (Gemma Team 2024, section 2). */
export const capped = (x: Value, cap: number | undefined): Value =>
  cap === undefined ? x : mul(tanh(mul(x, x.scope.scalar(1 / cap))), x.scope.scalar(cap));

/** Its derivative, 1 - tanh(x / cap)^2. */
export function capSlope(x: Value, cap: number): Value {
  const t = tanh(mul(x, x.scope.scalar(1 / cap)));
  return sub(x.scope.scalar(1), mul(t, t));
}

/**
 * The masks of a packed row by their input names, from documents [batch, time]: 0 where query and key are of one document
 * and the key may be seen, at most MASKED elsewhere. The same as the host makes them (microbatch.ts), where the numbers
 * of the documents are all that is carried to the device.
 */
export function packedMasksFrom(
  documents: Value,
  window: number | undefined,
  queriesInBlock: number,
): Map<string, Value> {
  const { scope } = documents;
  const [batch, time] = documents.shape as [number, number];
  return new Map(
    queryBlocks(time, queriesInBlock).map(([start, end]) => {
      const from = firstKey(start, window);
      const queries = reshape(slice(documents, 1, start, end), [batch, 1, 1, end - start, 1]);
      const keys = reshape(slice(documents, 1, from, end), [batch, 1, 1, 1, end - from]);
      const apart = sub(queries, keys);
      const mask = add(mul(mul(apart, apart), scope.scalar(MASKED)), causalMask(scope, start, end, window));
      return [`mask.${start}`, mask] as const;
    }),
  );
}

/** Zero where a query sees a key, MASKED elsewhere: [end - start, end - first key]. */
function causalMask(scope: Scope, start: number, end: number, window: number | undefined): Value {
  const from = firstKey(start, window);
  const width = end - from;
  const data = new Float32Array((end - start) * width).fill(MASKED);
  for (let query = start; query < end; query++)
    data.fill(0, (query - start) * width + firstKey(query, window) - from, (query - start) * width + query + 1 - from);
  return scope.constant(data, [end - start, width]);
}
