/** @file Causal attention by blocks of queries, with grouped keys and values, rotary positions, and its own way back. */
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
  transpose,
} from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';

export interface AttentionShape {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Queries in a block: each block skips the keys after its last query. */
export const QUERY_BLOCK = 128;

/** What is added to a score that must not count; exp of it is 0 in float32, and it is no infinity, so that no row becomes NaN. */
export const MASKED = -1e9;

/** First and last-plus-one query of each block. */
export function queryBlocks(time: number): (readonly [number, number])[] {
  return Array.from({ length: Math.ceil(time / QUERY_BLOCK) }, (_, i) => [
    i * QUERY_BLOCK,
    Math.min(time, (i + 1) * QUERY_BLOCK),
  ]);
}

/**
 * q [rows, heads * d] and k, v [rows, kvHeads * d] turned by their positions and laid out by head:
 * q [batch, kvHeads, group, time, d], k and v [batch, kvHeads, time, d].
 * Inputs it declares: positions int64 [batch, time], cos and sin [table, d / 2].
 */
export function positioned(
  scope: Scope,
  s: AttentionShape,
  table: number,
  q: Value,
  k: Value,
  v: Value,
): [Value, Value, Value] {
  const { batch, time, heads, kvHeads, headDim: d } = s;
  const positions = scope.input('positions', [batch, time], 'int64');
  const [cos, sin] = [scope.input('cos', [table, d / 2]), scope.input('sin', [table, d / 2])];
  const turn = (x: Value, n: number): Value => rotary(reshape(x, [batch, time, n * d]), positions, cos, sin);
  const byHead = (x: Value): Value => transpose(reshape(x, [batch, time, kvHeads, d]), [0, 2, 1, 3]);
  return [
    keep(transpose(reshape(turn(q, heads), [batch, time, kvHeads, heads / kvHeads, d]), [0, 2, 3, 1, 4])),
    keep(byHead(turn(k, kvHeads))),
    keep(byHead(v)),
  ];
}

export interface TrainingAttention extends AttentionShape {
  /** Several documents in a row: each query block's mask is an input `mask.START`, [batch, 1, 1, queries, keys]. */
  readonly packed: boolean;
  /** Probabilities are saved for the backward pass; otherwise computed again from q and k, which takes less memory. */
  readonly saveProbabilities: boolean;
}

/** softmax(q k' / sqrt(d) + mask) v for every query of a row at once. */
export function trainingAttention(s: TrainingAttention): (scope: Scope, q: Value, k: Value, v: Value) => Value {
  const { batch, time, heads, kvHeads, headDim: d } = s;
  const group = heads / kvHeads;
  const alpha = 1 / Math.sqrt(d);
  const blocks = queryBlocks(time);
  const sizes = blocks.map(([start, end]) => end - start);
  /** [batch, kvHeads, group, n, m] with the group's queries as rows of one matrix. */
  const folded = (x: Value): Value => reshape(x, [batch, kvHeads, group * x.shape[3]!, x.shape[4]!]);
  const unfolded = (x: Value, n: number): Value => reshape(x, [batch, kvHeads, group, n, x.shape[3]!]);

  return (scope, q0, k0, v0) => {
    const [q, k, v] = positioned(scope, s, time, q0, k0, v0);
    const parts = split(q, sizes, 3).map((part, i) => {
      const [start, end] = blocks[i]!;
      const mask = s.packed
        ? scope.input(`mask.${start}`, [batch, 1, 1, end - start, end])
        : causalMask(scope, start, end);
      const [queries, keys, values] = [folded(part), slice(k, 2, 0, end), slice(v, 2, 0, end)];
      const scores = bmm(queries, keys, { transB: true, alpha });
      const probabilities = softmax(add(unfolded(scores, end - start), mask));
      scores.keep = false;
      probabilities.keep = s.saveProbabilities;
      return { start, end, queries, keys, values, probabilities: folded(probabilities) };
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
        const { end, queries, keys, values, probabilities } = parts[i]!;
        const dOutput = folded(part);
        const dProbabilities = bmm(dOutput, values, { transB: true });
        const dScores = mul(probabilities, sub(dProbabilities, folded(dots[i]!)));
        dqs.push(unfolded(bmm(dScores, keys, { alpha }), sizes[i]!));
        const dKeys = pad(bmm(dScores, queries, { transA: true, alpha }), 2, 0, time - end);
        const dValues = pad(bmm(probabilities, dOutput, { transA: true }), 2, 0, time - end);
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
 * [batch, kvHeads, past, d], mask [batch, 1, 1, 1, past]. `made` receives the new k and v, [batch, kvHeads, time, d].
 */
export function cachedAttention(
  s: CachedAttention,
  made: (k: Value, v: Value) => void,
): (scope: Scope, q: Value, k: Value, v: Value) => Value {
  const { batch, time, past, heads, kvHeads, headDim: d } = s;
  const group = heads / kvHeads;
  const alpha = 1 / Math.sqrt(d);
  return (scope, q0, k0, v0) => {
    const [q, k, v] = positioned(scope, s, past + time, q0, k0, v0);
    made(k, v);
    const queries = reshape(q, [batch, kvHeads, group * time, d]);
    const scores = (keys: Value, length: number): Value =>
      reshape(bmm(queries, keys, { transB: true, alpha }), [batch, kvHeads, group, time, length]);
    const fresh = time === 1 ? scores(k, time) : add(scores(k, time), causalMask(scope, 0, time));
    const all: Value[] = [fresh];
    const values = [v];
    if (past > 0) {
      const mask = scope.input('mask', [batch, 1, 1, 1, past]);
      all.unshift(add(scores(scope.input('past.k', [batch, kvHeads, past, d]), past), mask));
      values.unshift(scope.input('past.v', [batch, kvHeads, past, d]));
    }
    const lengths = past > 0 ? [past, time] : [time];
    const output = split(softmax(concat(all, 4)), lengths, 4)
      .map((p, i) => bmm(reshape(p, [batch, kvHeads, group * time, lengths[i]!]), values[i]!))
      .reduce((a, b) => add(a, b));
    const byTime = transpose(reshape(output, [batch, kvHeads, group, time, d]), [0, 3, 1, 2, 4]);
    return reshape(byTime, [batch * time, heads * d]);
  };
}

/** Zero where key <= query, MASKED elsewhere: [end - start, end]. */
function causalMask(scope: Scope, start: number, end: number): Value {
  const data = new Float32Array((end - start) * end);
  for (let i = start; i < end; i++) data.fill(MASKED, (i - start) * end + i + 1, (i - start + 1) * end);
  return scope.constant(data, [end - start, end]);
}
