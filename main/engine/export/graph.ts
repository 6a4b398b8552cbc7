/** @file A whole model as one ONNX graph with free lengths and a cache, from the same description that training runs: input ids in, logits out. */
import { elementType, nodeProto, valueInfo, type FloatType } from '../../formats/onnx/build.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from '../../formats/onnx/proto.ts';
import { FettleError } from '../../contract/errors.ts';
import { isTied, type LayerKind, type ModelSpec } from '../architectures/spec.ts';
import { write, type WriteOptions } from '../graph/emit.ts';
import { add, bmm, concat, reshape, softmax, transpose } from '../graph/ops/index.ts';
import { FREE, Scope, type Value } from '../graph/value.ts';
import { capped, positioned } from '../layers/attention.ts';
import { BlockBuilder, type Attention } from '../layers/block.ts';
import { embed } from '../layers/embedding.ts';
import { logits } from '../layers/head.ts';
import { attentionMask, lengths, unflatten } from './ops.ts';

export interface DecoderGraph {
  readonly nodes: readonly NodeProto[];
  readonly constants: readonly TensorProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
}

export interface GraphOptions {
  /** What numbers, keys and values are computed and kept in; logits are float32 always. */
  readonly float: FloatType;
  /** Writes products and rows of weights that are stored in fewer bits; by the names of `weightName`. */
  readonly instead?: WriteOptions['instead'];
}

/** The name of a weight in the graph. `layer` is undefined for embedding, final norm and head. */
export const weightName = (name: string, layer?: number): string =>
  layer === undefined ? `model.${name}` : `model.layers.${layer}.${name}`;

/** Values that all layers share, or all of one kind. */
const SHARED = ['lengths'];
const BY_KIND = ['mask', 'cos', 'sin'];

/** Kinds of layers, each once. Their masks and tables go by `kindName`. */
export const kindsOf = (spec: ModelSpec): LayerKind[] => [...new Set(spec.kinds)];
export const kindName = (spec: ModelSpec, name: string, kind: LayerKind): string => {
  const kinds = kindsOf(spec);
  return kinds.length === 1 ? name : `${name}.${kinds.indexOf(kind)}`;
};

/**
 * Inputs: input_ids [batch, time], attention_mask [batch, past + time], position_ids [batch, time], and of each layer
 * past_key_values.N.key and .value [batch, kvHeads, past, headDim]. Outputs: logits [batch, time, vocab], present.N.key
 * and .value. Weights go by `weightName` and are no part of it; neither are `cos` and `sin` [maxPositions, pairs] of each
 * kind of layers, where positions are not learned.
 * @throws EXPORT_UNSUPPORTED for positions that change with the length of the text
 */
export function decoderGraph(spec: ModelSpec, { float, instead }: GraphOptions): DecoderGraph {
  if (spec.kinds.some(({ rotary }) => rotary?.long && rotary.long.after < spec.maxPositions))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'This model turns positions otherwise in long texts (LongRoPE), which one ONNX graph cannot follow.',
      'Export the merged model (safetensors), or GGUF.',
    );
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  // Standard operators, as for WebGPU: other programs run them on devices of their own, and the runtime fuses them.
  const put = (
    outputs: ReadonlyMap<string, Value>,
    prefix: string,
    options: Pick<WriteOptions, 'given' | 'fedAs'>,
  ): void => {
    const written = write(outputs, { ...options, device: 'webgpu', float, prefix, ...(instead ? { instead } : {}) });
    nodes.push(...written.nodes);
    constants.push(...written.constants);
  };
  const tied = isTied(spec);
  const global = (name: string): string =>
    SHARED.includes(name) ? name : weightName(name === 'head' && tied ? 'embedding' : name);

  const first = new Scope();
  const ids = first.input('input_ids', [FREE, FREE], 'int64');
  const seen = first.input('attention_mask', [FREE, FREE], 'int64');
  put(
    new Map([
      ['hidden.0', reshape(embed(first, spec, ids), [FREE, spec.hidden])],
      ['lengths', lengths(ids)],
      ...kindsOf(spec).map((kind): [string, Value] => [
        kindName(spec, 'mask', kind),
        attentionMask(ids, seen, kind.window),
      ]),
    ]),
    'first.',
    {
      fedAs: (name) => (name === 'positions' ? 'position_ids' : name.startsWith('embedding') ? weightName(name) : name),
    },
  );

  for (let layer = 0; layer < spec.layers; layer++) {
    const scope = new Scope();
    const outputs = new Map<string, Value>();
    const kind = spec.kinds[layer]!;
    const attention = freeAttention(spec, kind, (keys, values) => {
      outputs.set(`present.${layer}.key`, keys);
      outputs.set(`present.${layer}.value`, values);
    });
    const x = scope.input('x', [FREE, spec.hidden]);
    outputs.set(`hidden.${layer + 1}`, spec.block(new BlockBuilder(scope, spec, undefined, attention), x));
    put(outputs, `layer.${layer}.`, {
      given: new Map([[x, `hidden.${layer}`]]),
      fedAs: (name) =>
        name === 'positions'
          ? 'position_ids'
          : name.startsWith('past.')
            ? `past_key_values.${layer}.${name.slice(5)}`
            : BY_KIND.includes(name)
              ? kindName(spec, name, kind)
              : SHARED.includes(name)
                ? name
                : weightName(name, layer),
    });
  }

  const last = new Scope();
  const x = last.input('x', [FREE, spec.hidden]);
  const scores = unflatten(logits(last, spec, x), last.input('lengths', [2], 'int64'));
  const given = new Map([[x, `hidden.${spec.layers}`]]);
  const computed = float === 'float32' ? 'logits' : 'logits.computed';
  put(new Map([[computed, scores]]), 'last.', { given, fedAs: global });
  if (computed !== 'logits') nodes.push(nodeProto('Cast', [computed], ['logits'], { to: elementType('float32') }));

  return { nodes, constants, ...ends(spec, float) };
}

/** The names of free lengths are those that transformers.js fills in for an empty cache. */
function ends(spec: ModelSpec, float: FloatType): Pick<DecoderGraph, 'inputs' | 'outputs'> {
  const [batch, time, past, total] = ['batch_size', 'sequence_length', 'past_sequence_length', 'total_sequence_length'];
  const cache = (prefix: string, length: string): ValueInfoProto[] =>
    Array.from({ length: spec.layers }, (_, i) =>
      ['key', 'value'].map((name) =>
        valueInfo(`${prefix}.${i}.${name}`, float, [batch!, spec.kvHeads, length, spec.headDim]),
      ),
    ).flat();
  return {
    inputs: [
      valueInfo('input_ids', 'int64', [batch!, time!]),
      valueInfo('attention_mask', 'int64', [batch!, total!]),
      valueInfo('position_ids', 'int64', [batch!, time!]),
      ...cache('past_key_values', past!),
    ],
    outputs: [valueInfo('logits', 'float32', [batch!, time!, spec.vocab]), ...cache('present', total!)],
  };
}

/**
 * Attention to a cache of any length and to what is new. Inputs it declares: lengths of batch and time, mask
 * [batch, 1, 1, time, total], past.key and past.value [batch, kvHeads, past, d], and those of `positioned`. `made`
 * receives all keys and values, [batch, kvHeads, total, d].
 */
function freeAttention(spec: ModelSpec, kind: LayerKind, made: (keys: Value, values: Value) => void): Attention {
  const { heads, kvHeads, headDim: d } = spec;
  const { scale, softCap } = spec.attention;
  const rotary = kind.rotary && { pairs: kind.rotary.frequencies.length, table: spec.maxPositions };
  return (scope, q0, k0, v0) => {
    const rowsOf = (x: Value): Value => unflatten(x, scope.input('lengths', [2], 'int64'));
    const shape = { batch: FREE, time: FREE, heads, kvHeads, headDim: d, scale, softCap, window: undefined, rotary };
    const [q, k, v] = positioned(scope, shape, rowsOf(q0), rowsOf(k0), rowsOf(v0));
    const all = (name: string, fresh: Value): Value =>
      concat([scope.input(`past.${name}`, [FREE, kvHeads, FREE, d]), fresh], 2);
    const [keys, values] = [all('key', k), all('value', v)];
    made(keys, values);
    // One set of keys for all queries of a group.
    const shared = (x: Value): Value => reshape(x, [FREE, kvHeads, 1, FREE, d]);
    const scores = capped(bmm(q, shared(keys), { transB: true, alpha: scale }), softCap);
    const mask = scope.input('mask', [FREE, 1, 1, FREE, FREE]);
    const output = bmm(softmax(add(scores, mask)), shared(values));
    return reshape(transpose(output, [0, 3, 1, 2, 4]), [FREE, heads * d]);
  };
}
