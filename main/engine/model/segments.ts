/** @file The segments of a model, compiled for a shape: embedding, block, head. */
import type { ModelSpec } from '../architectures/spec.ts';
import { gradient } from '../autodiff/gradient.ts';
import { emit } from '../graph/emit.ts';
import { Scope, type Value } from '../graph/value.ts';
import { cachedAttention, queryBlocks, trainingAttention } from '../layers/attention.ts';
import { BlockBuilder, type AdapterShape } from '../layers/block.ts';
import { crossEntropy, embedding, headPeaks, logits } from '../layers/head.ts';
import { compileWithBackward } from '../segments/compile.ts';
import { Session, type SessionCache } from '../segments/session.ts';

export interface BlockShape {
  readonly batch: number;
  readonly time: number;
  readonly packed: boolean;
  readonly adapter: AdapterShape | undefined;
}

/** Attention probabilities of all layers are saved for the backward pass up to this many bytes, else computed again. */
const PROBABILITY_BYTES = 256e6;

/** Names all that an adapted block's programs depend on. */
export const adapterKey = (adapter: AdapterShape | undefined): string =>
  adapter ? `r${adapter.rank} s${adapter.scale} ${[...adapter.targets].sort().join()}` : 'base';
const shapeKey = ({ batch, time, packed, adapter }: BlockShape): string =>
  `${batch}x${time}${packed ? ' packed' : ''} ${adapterKey(adapter)}`;

/** `x` [n, hidden] for `ids` [n]. */
export function embedSegment(cache: SessionCache, spec: ModelSpec, n: number): Promise<{ forward: Session }> {
  return cache.get(`embed ${n}`, async () => {
    const scope = new Scope();
    const x = embedding(scope, spec, scope.input('ids', [n], 'int64'), cache.options.precision);
    return { forward: await Session.create(emit(new Map([['x', x]]), cache.options.device), cache.options) };
  });
}

/** `y` for `x`, saving nothing. */
export function blockSegment(cache: SessionCache, spec: ModelSpec, shape: BlockShape): Promise<{ forward: Session }> {
  return cache.get(`block ${shapeKey(shape)}`, async () => {
    const { y } = block(cache, spec, shape);
    return { forward: await Session.create(emit(new Map([['y', y]]), cache.options.device), cache.options) };
  });
}

/** `y`, and the peaks of each projection's input as `peaks.NAME`. */
export function observingSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
): Promise<{ forward: Session }> {
  return cache.get(`observe ${shapeKey(shape)}`, async () => {
    const { builder, y } = block(cache, spec, shape);
    const outputs = new Map([['y', y]]);
    for (const [name, peaks] of builder.peaks) outputs.set(`peaks.${name}`, peaks);
    return { forward: await Session.create(emit(outputs, cache.options.device), cache.options) };
  });
}

/** `y` and what is saved for `x`; then `d.x` and the adapter's gradients for `dy`. */
export function trainingSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
): Promise<{ forward: Session; backward: Session }> {
  return cache.get(`train ${shapeKey(shape)}`, async () => {
    const { builder, x, y } = block(cache, spec, shape);
    const piece = compileWithBackward(builder.scope, y, [x], builder.trained, cache.options.device);
    return {
      forward: await Session.create(piece.forward, cache.options),
      backward: await Session.create(piece.backward, cache.options),
    };
  });
}

function block(
  { options }: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
): { builder: BlockBuilder; x: Value; y: Value } {
  const { batch, time, packed } = shape;
  const scope = new Scope();
  const attention = trainingAttention({
    batch,
    time,
    packed,
    heads: spec.heads,
    kvHeads: spec.kvHeads,
    headDim: spec.headDim,
    saveProbabilities: probabilityBytes(spec, batch, time) <= PROBABILITY_BYTES,
  });
  const builder = new BlockBuilder(scope, spec, shape.adapter, attention, options.precision);
  const x = scope.input('x', [batch * time, spec.hidden]);
  return { builder, x, y: spec.block(builder, x) };
}

/** `y`, and `k` and `v` [1, kvHeads, time, headDim] for the cache, for `x` after `past` cached tokens. */
export function decodeSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: { readonly time: number; readonly past: number; readonly adapter: AdapterShape | undefined },
): Promise<{ forward: Session }> {
  const { time, past, adapter } = shape;
  return cache.get(`decode ${time} after ${past} ${adapterKey(adapter)}`, async () => {
    const scope = new Scope();
    const { heads, kvHeads, headDim } = spec;
    const outputs = new Map<string, Value>();
    const attention = cachedAttention({ batch: 1, time, past, heads, kvHeads, headDim }, (k, v) => {
      outputs.set('k', k);
      outputs.set('v', v);
    });
    const builder = new BlockBuilder(scope, spec, adapter, attention, cache.options.precision);
    const y = spec.block(builder, scope.input('x', [time, spec.hidden]));
    outputs.set('y', y);
    return { forward: await Session.create(emit(outputs, cache.options.device), cache.options) };
  });
}

/** Of all layers together, with the masked upper half left out by query blocks. */
export const probabilityBytes = (spec: ModelSpec, batch: number, time: number): number =>
  4 * spec.layers * batch * spec.heads * queryBlocks(time).reduce((sum, [start, end]) => sum + (end - start) * end, 0);

/** Of `rows` rows: 'loss' gives `loss`; 'train' gives `loss` and `d.x` for `dy` [rows, 1]; 'logits' gives `logits`; 'peaks' gives `peaks` [hidden]. */
export function headSegment(
  cache: SessionCache,
  spec: ModelSpec,
  kind: 'loss' | 'train' | 'logits' | 'peaks',
  rows: number,
): Promise<{ session: Session; rows: number }> {
  return cache.get(`head ${kind} ${rows}`, async () => {
    const scope = new Scope();
    const { precision } = cache.options;
    const x = scope.input('x', [rows, spec.hidden]);
    const outputs = new Map<string, Value>();
    if (kind === 'logits') outputs.set('logits', logits(scope, spec, x, precision));
    else if (kind === 'peaks') outputs.set('peaks', headPeaks(scope, spec, x));
    else {
      const loss = crossEntropy(scope, spec, x, scope.input('labels', [rows, 1], 'int64'), precision);
      outputs.set('loss', loss);
      if (kind === 'train') outputs.set('d.x', gradient(loss, scope.input('dy', [rows, 1]), [x])[0]!);
    }
    return { session: await Session.create(emit(outputs, cache.options.device), cache.options), rows };
  });
}
