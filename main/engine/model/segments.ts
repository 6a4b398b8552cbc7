/** @file The segments of a model, compiled for a shape: embedding, block, head. */
import type { ModelSpec } from '../architectures/spec.ts';
import { gradient } from '../autodiff/gradient.ts';
import { emit } from '../graph/emit.ts';
import { accumulate, rows as tableRows } from '../graph/ops/index.ts';
import { Scope, type Value } from '../graph/value.ts';
import { cachedAttention, queryBlocks, trainingAttention } from '../layers/attention.ts';
import { BlockBuilder, type TrainedShape } from '../layers/block.ts';
import { crossEntropy, logits } from '../layers/head.ts';
import { compileWithBackward } from '../segments/compile.ts';
import { Session, type SessionCache } from '../segments/session.ts';
import type { Outer } from './weights.ts';

export interface BlockShape {
  readonly batch: number;
  readonly time: number;
  readonly packed: boolean;
  readonly trained: TrainedShape | undefined;
}

/** Attention probabilities of all layers are saved for the backward pass up to this many bytes, else computed again. */
const PROBABILITY_BYTES = 256e6;

/** Names all that an adapted block's programs depend on. */
function trainedKey(shape: TrainedShape | undefined): string {
  if (shape?.kind !== 'adapter') return shape?.kind ?? 'base';
  const { rank, scale, targets, dora, dropout } = shape;
  return `r${rank} s${scale} ${[...targets].sort().join()}${dora ? ' dora' : ''}${dropout > 0 ? ` dropout ${dropout}` : ''}`;
}
const shapeKey = ({ batch, time, packed, trained }: BlockShape): string =>
  `${batch}x${time}${packed ? ' packed' : ''} ${trainedKey(trained)}`;

/** `x` [n, hidden] for `ids` [n]. */
export function embedSegment(cache: SessionCache, spec: ModelSpec, n: number): Promise<{ forward: Session }> {
  return cache.get(`embed ${n}`, async () => {
    const scope = new Scope();
    const x = tableRows(scope.input('embedding', [spec.vocab, spec.hidden]), scope.input('ids', [n], 'int64'));
    return { forward: await Session.create(emit(new Map([['x', x]]), cache.options.device), cache.options) };
  });
}

/** `y` for `x`, saving nothing. */
export function blockSegment(cache: SessionCache, spec: ModelSpec, shape: BlockShape): Promise<{ forward: Session }> {
  return cache.get(`block ${shapeKey(shape)}`, async () => {
    const { y } = block(spec, shape);
    return { forward: await Session.create(emit(new Map([['y', y]]), cache.options.device), cache.options) };
  });
}

/** `y` and what is saved for `x`; then `d.x` and the adapter's gradients for `dy`. */
export function trainingSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
): Promise<{ forward: Session; backward: Session }> {
  return cache.get(`train ${shapeKey(shape)}`, async () => {
    const { builder, x, y } = block(spec, shape, true);
    const piece = compileWithBackward(builder.scope, y, [x], builder.trained, cache.options.device);
    return {
      forward: await Session.create(piece.forward, cache.options),
      backward: await Session.create(piece.backward, cache.options),
    };
  });
}

function block(spec: ModelSpec, shape: BlockShape, training = false): { builder: BlockBuilder; x: Value; y: Value } {
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
  const builder = new BlockBuilder(scope, spec, shape.trained, attention, training);
  const x = scope.input('x', [batch * time, spec.hidden]);
  return { builder, x, y: spec.block(builder, x) };
}

/** `y`, and `k` and `v` [1, kvHeads, time, headDim] for the cache, for `x` after `past` cached tokens. */
export function decodeSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: { readonly time: number; readonly past: number; readonly trained: TrainedShape | undefined },
): Promise<{ forward: Session }> {
  const { time, past, trained } = shape;
  return cache.get(`decode ${time} after ${past} ${trainedKey(trained)}`, async () => {
    const scope = new Scope();
    const { heads, kvHeads, headDim } = spec;
    const outputs = new Map<string, Value>();
    const attention = cachedAttention({ batch: 1, time, past, heads, kvHeads, headDim }, (k, v) => {
      outputs.set('k', k);
      outputs.set('v', v);
    });
    const y = spec.block(new BlockBuilder(scope, spec, trained, attention), scope.input('x', [time, spec.hidden]));
    outputs.set('y', y);
    return { forward: await Session.create(emit(outputs, cache.options.device), cache.options) };
  });
}

/** Of all layers together, with the masked upper half left out by query blocks. */
export const probabilityBytes = (spec: ModelSpec, batch: number, time: number): number =>
  4 * spec.layers * batch * spec.heads * queryBlocks(time).reduce((sum, [start, end]) => sum + (end - start) * end, 0);

/**
 * Of `rows` rows: 'loss' gives `loss`; 'train' gives `loss` and `d.x` for `dy` [rows, 1], and for each of `trained` its
 * gradient added to what is fed; 'logits' gives `logits`.
 */
export function headSegment(
  cache: SessionCache,
  spec: ModelSpec,
  kind: 'loss' | 'train' | 'logits',
  rows: number,
  trained: readonly Outer[] = [],
): Promise<{ session: Session; rows: number }> {
  return cache.get(`head ${kind} ${rows} ${trained.join()}`, async () => {
    const scope = new Scope();
    const x = scope.input('x', [rows, spec.hidden]);
    const outputs = new Map<string, Value>();
    if (kind === 'logits') outputs.set('logits', logits(scope, spec, x));
    else {
      const loss = crossEntropy(scope, spec, x, scope.input('labels', [rows, 1], 'int64'), trained.includes('head'));
      outputs.set('loss', loss);
      if (kind === 'train') {
        const weights = {
          finalNorm: scope.input('finalNorm', [spec.hidden]),
          head: scope.input('head', [spec.vocab, spec.hidden]),
        };
        const own = trained.flatMap((name) => (name === 'embedding' ? [] : [[name, weights[name]] as const]));
        const [dx, ...gradients] = gradient(loss, scope.input('dy', [rows, 1]), [x, ...own.map(([, value]) => value)]);
        outputs.set('d.x', dx!);
        own.forEach(([name, { shape }], i) =>
          outputs.set(`d.${name}`, accumulate(scope.input(`g.${name}`, shape), gradients[i]!)),
        );
      }
    }
    return { session: await Session.create(emit(outputs, cache.options.device), cache.options), rows };
  });
}
