/** @file The segments of a model, compiled for a shape: embedding, block, head. */
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import { gradient } from '../autodiff/gradient.ts';
import { emit, program, write, type Program, type Written } from '../graph/emit.ts';
import { accumulate, columnPeaks, gemm, mul, reduceSum, split } from '../graph/ops/index.ts';
import { Scope, type TensorType, type Value } from '../graph/value.ts';
import {
  cachedAttention,
  packedMasksFrom,
  queryBlocks,
  trainingAttention,
  type AttentionShape,
} from '../layers/attention.ts';
import { BlockBuilder, type TrainedShape } from '../layers/block.ts';
import { embed } from '../layers/embedding.ts';
import { crossEntropy, headPeaks, logits } from '../layers/head.ts';
import { groupSizes } from '../quantise/gptq.ts';
import { PIECES } from './pieces.ts';
import { compileWithBackward, type BackwardPiece } from '../segments/compile.ts';
import { Session, type RuntimeOptions, type SessionCache } from '../segments/session.ts';

export interface BlockShape {
  readonly kind: LayerKind;
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
const shapeKey = ({ kind, batch, time, packed, trained }: BlockShape): string =>
  `${batch}x${time}${packed ? ' packed' : ''} ${kindKey(kind, time)} ${trainedKey(trained)}`;
/** Kinds whose programs are the same over `time` tokens share them. */
const kindKey = (kind: LayerKind, time: number): string =>
  `${kind.rotary?.frequencies.length ?? 0} ${longTexts(kind, time) ? 'long ' : ''}${windowIn(kind, time) ?? ''}`;

/** The window where it hides anything of `time` tokens. */
export const windowIn = ({ window }: LayerKind, time: number): number | undefined =>
  window !== undefined && window < time ? window : undefined;

/** Whether a text of `time` tokens may be one that LongRoPE turns otherwise: its tables then follow the others. */
export const longTexts = ({ rotary }: LayerKind, time: number): boolean =>
  rotary?.long !== undefined && time > rotary.long.after;

/** @param table rows of the rotary tables. @param time all tokens that it sees, cached ones included. */
function attentionOf(
  spec: ModelSpec,
  kind: LayerKind,
  time: number,
  table: number,
): Omit<AttentionShape, 'batch' | 'time'> {
  const { heads, kvHeads, headDim, attention } = spec;
  const rotary = kind.rotary && { pairs: kind.rotary.frequencies.length, table };
  return { heads, kvHeads, headDim, ...attention, window: windowIn(kind, time), rotary };
}

/** What a program hangs on beside shapes. */
export type ProgramOptions = Pick<RuntimeOptions, 'device' | 'precision'>;

/** `x` [n, hidden] for `ids` [n]. */
export function embedSegment(cache: SessionCache, spec: ModelSpec, n: number): Promise<{ forward: Session }> {
  return cache.get(`embed ${n}`, async () => ({
    forward: await Session.create(embedProgram(cache.options, spec, n), cache.options),
  }));
}

export function embedProgram({ device, precision }: ProgramOptions, spec: ModelSpec, n: number): Program {
  const scope = new Scope();
  return emit(new Map([['x', embed(scope, spec, scope.input('ids', [n], 'int64'), precision)]]), device);
}

/** `mask.START` of each query block for `documents` [batch, time], as float32. */
export function maskSegment(
  cache: SessionCache,
  { kind, batch, time }: Pick<BlockShape, 'kind' | 'batch' | 'time'>,
): Promise<{ forward: Session }> {
  const window = windowIn(kind, time);
  return cache.get(`masks ${batch}x${time} ${window}`, async () => {
    const masks = packedMasksFrom(
      new Scope().input('documents', [batch, time]),
      window,
      PIECES[cache.options.device].queries,
    );
    return { forward: await Session.create(emit(masks, cache.options.device), cache.options) };
  });
}

/** `y` for `x`, saving nothing. */
export function blockSegment(cache: SessionCache, spec: ModelSpec, shape: BlockShape): Promise<{ forward: Session }> {
  return cache.get(`block ${shapeKey(shape)}`, async () => ({
    forward: await Session.create(blockProgram(cache.options, spec, shape), cache.options),
  }));
}

export function blockProgram(options: ProgramOptions, spec: ModelSpec, shape: BlockShape): Program {
  return emit(new Map([['y', block(options, spec, shape).y]]), options.device);
}

/**
 * What is looked at of each projection's input x [rows, from]: 'peaks', the largest magnitudes of its columns [from];
 * 'moments', the products x' x [size, size] of each group of columns that `groupSizes` gives, one after the other.
 */
export type Observed = 'peaks' | 'moments';

/** `y`, and what is seen of each projection's input, as outputs that `seen` names by projection. */
export function observingSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
  what: Observed,
): Promise<{ forward: Session; seen: ReadonlyMap<string, readonly string[]> }> {
  return cache.get(`observe ${what} ${shapeKey(shape)}`, async () => {
    const { builder, y } = block(cache.options, spec, shape);
    const outputs = new Map([['y', y]]);
    const seen = new Map<string, string[]>();
    for (const [projection, x] of builder.multiplied) {
      const found = what === 'peaks' ? [columnPeaks(x)] : moments(x);
      seen.set(
        projection,
        found.map((value, i) => {
          const name = `${what}.${projection}.${i}`;
          outputs.set(name, value);
          return name;
        }),
      );
    }
    return { forward: await Session.create(emit(outputs, cache.options.device), cache.options), seen };
  });
}

const moments = (x: Value): Value[] =>
  split(x, groupSizes(x.shape[1]!), 1).map((columns) => gemm(columns, columns, { transA: true }));

/** `y` and what is saved for `x`; then `d.x` and the adapter's gradients for `dy`. */
export function trainingSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: BlockShape,
): Promise<{ forward: Session; backward: Session }> {
  return cache.get(`train ${shapeKey(shape)}`, async () => {
    const piece = trainingPiece(cache.options, spec, shape);
    return {
      forward: await Session.create(piece.forward, cache.options),
      backward: await Session.create(piece.backward, cache.options),
    };
  });
}

export function trainingPiece(options: ProgramOptions, spec: ModelSpec, shape: BlockShape): BackwardPiece {
  const { builder, x, y } = block(options, spec, shape, true);
  return compileWithBackward(builder.scope, y, [x], builder.trained, options.device);
}

function block(
  { device, precision }: ProgramOptions,
  spec: ModelSpec,
  shape: BlockShape,
  training = false,
): { builder: BlockBuilder; x: Value; y: Value } {
  const { batch, time, packed } = shape;
  const { queries } = PIECES[device];
  const scope = new Scope();
  const attention = trainingAttention({
    ...attentionOf(spec, shape.kind, time, longTexts(shape.kind, time) ? 2 * time : time),
    batch,
    time,
    packed,
    queries,
    saveProbabilities: probabilityBytes(spec, batch, time, queries) <= PROBABILITY_BYTES,
  });
  const builder = new BlockBuilder(scope, spec, shape.trained, attention, { training, precision });
  const x = scope.input('x', [batch * time, spec.hidden]);
  return { builder, x, y: spec.block(builder, x) };
}

/** What all layers of a kind are fed alike. */
const FED_ALIKE = new Set(['positions', 'cos', 'sin', 'mask']);

/**
 * `count` layers of a kind over `time` new tokens of each row after `past` cached ones. What layer i has for itself goes by
 * `i.` and its name: in, `0.x` [batch * time, hidden]; out, `i.k` and `i.v` [batch, kvHeads, time, headDim] for the cache,
 * and of the last one what would be the next one's x.
 */
export function decodeSegment(
  cache: SessionCache,
  spec: ModelSpec,
  shape: {
    readonly kind: LayerKind;
    readonly count: number;
    readonly batch: number;
    readonly time: number;
    readonly past: number;
    readonly trained: TrainedShape | undefined;
  },
): Promise<{ forward: Session }> {
  const { kind, count, batch, time, past, trained } = shape;
  const { device, precision } = cache.options;
  const key = `decode ${count} ${batch}x${time} after ${past} ${kindKey(kind, past + time)} ${trainedKey(trained)}`;
  return cache.get(key, async () => {
    const sees = attentionOf(spec, kind, past + time, past + time);
    const outputs = new Map<string, TensorType>();
    const layers = Array.from({ length: count }, (_, i): Written => {
      const scope = new Scope();
      const made = new Map<string, Value>();
      const attention = cachedAttention({ ...sees, batch, time, past }, (k, v) => {
        made.set(`${i}.k`, k);
        made.set(`${i}.v`, v);
      });
      const builder = new BlockBuilder(scope, spec, trained, attention, { precision });
      made.set(`${i + 1}.x`, spec.block(builder, scope.input('x', [batch * time, spec.hidden])));
      for (const [name, value] of made) if (i + 1 === count || !name.endsWith('.x')) outputs.set(name, value);
      const fedAs = (name: string): string => (FED_ALIKE.has(name) ? name : `${i}.${name}`);
      return write(made, { device, prefix: `${i}.`, fedAs });
    });
    const forward = program(layers, outputs, device);
    return { forward: await Session.create(forward, cache.options, { idle: time === 1 ? 'spin' : 'sleep' }) };
  });
}

/** Of all layers together, with the masked upper half left out by query blocks. */
export const probabilityBytes = (spec: ModelSpec, batch: number, time: number, queries: number): number =>
  queryBlocks(time, queries).reduce((sum, [start, end]) => sum + (end - start) * end, 0) *
  (4 * spec.layers * batch * spec.heads);

/**
 * Of `rows` rows: 'loss' gives `loss`; 'train' gives `loss` (on a graphics processor its sum, weighted by `dy`: what is
 * not asked for is not carried) and `d.x` for `dy` [rows, 1], and for each of `trained` (its weights by their input names)
 * the gradient added to what is fed; 'logits' gives `logits`; 'peaks' gives `peaks` [hidden].
 */
export function headSegment(
  cache: SessionCache,
  spec: ModelSpec,
  kind: 'loss' | 'train' | 'logits' | 'peaks',
  rows: number,
  trained: readonly string[] = [],
): Promise<{ session: Session; rows: number }> {
  return cache.get(`head ${kind} ${rows} ${trained.join()}`, async () => ({
    session: await Session.create(headProgram(cache.options, spec, kind, rows, trained), cache.options, {
      idle: kind === 'logits' ? 'spin' : 'sleep',
    }),
    rows,
  }));
}

export function headProgram(
  { device, precision }: ProgramOptions,
  spec: ModelSpec,
  kind: 'loss' | 'train' | 'logits' | 'peaks',
  rows: number,
  trained: readonly string[] = [],
): Program {
  const scope = new Scope();
  const x = scope.input('x', [rows, spec.hidden]);
  const outputs = new Map<string, Value>();
  if (kind === 'logits') outputs.set('logits', logits(scope, spec, x, precision));
  else if (kind === 'peaks') outputs.set('peaks', headPeaks(scope, spec, x));
  else {
    const labels = scope.input('labels', [rows, 1], 'int64');
    const loss = crossEntropy(scope, spec, x, labels, { trained: trained.includes('head'), precision });
    if (kind === 'loss') outputs.set('loss', loss);
    else {
      const dy = scope.input('dy', [rows, 1]);
      outputs.set('loss', device === 'cpu' ? loss : reduceSum(mul(loss, dy), [0]));
      const own = trained.map((name) => scope.declared(name));
      const [dx, ...gradients] = gradient(loss, dy, [x, ...own]);
      outputs.set('d.x', dx!);
      trained.forEach((name, i) =>
        outputs.set(`d.${name}`, accumulate(scope.input(`g.${name}`, own[i]!.shape), gradients[i]!)),
      );
    }
  }
  return emit(outputs, device);
}
