/** @file A whole model as one ONNX graph with free lengths and a cache, from the same description that training runs: input ids in, logits out. */
import { elementType, nodeProto, valueInfo, type FloatType } from '../../formats/onnx/build.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from '../../formats/onnx/proto.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { write, type WriteOptions } from '../graph/emit.ts';
import { add, bmm, concat, reshape, rows, softmax, transpose } from '../graph/ops/index.ts';
import { FREE, Scope, type Value } from '../graph/value.ts';
import { positioned } from '../layers/attention.ts';
import { BlockBuilder, type Attention } from '../layers/block.ts';
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

/** Values that all layers share, under the same name in each. */
const SHARED = ['positions', 'lengths', 'mask', 'cos', 'sin'];

/**
 * Inputs: input_ids [batch, time], attention_mask [batch, past + time], position_ids [batch, time], and of each layer
 * past_key_values.N.key and .value [batch, kvHeads, past, headDim]. Outputs: logits [batch, time, vocab], present.N.key
 * and .value. Weights go by `weightName` and are no part of it; neither are `cos` and `sin` [maxPositions, headDim / 2].
 */
export function decoderGraph(spec: ModelSpec, { float, instead }: GraphOptions): DecoderGraph {
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
  const tied = spec.names.head === spec.names.embedding;
  const global = (name: string): string =>
    SHARED.includes(name) ? name : weightName(name === 'head' && tied ? 'embedding' : name);

  const first = new Scope();
  const ids = first.input('input_ids', [FREE, FREE], 'int64');
  const seen = first.input('attention_mask', [FREE, FREE], 'int64');
  const embedded = rows(first.input('embedding', [spec.vocab, spec.hidden]), ids);
  put(
    new Map([
      ['hidden.0', reshape(embedded, [FREE, spec.hidden])],
      ['lengths', lengths(ids)],
      ['mask', attentionMask(ids, seen)],
    ]),
    'first.',
    { fedAs: (name) => (name === 'embedding' ? weightName(name) : name) },
  );

  for (let layer = 0; layer < spec.layers; layer++) {
    const scope = new Scope();
    const outputs = new Map<string, Value>();
    const attention = freeAttention(spec, (keys, values) => {
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
function freeAttention(spec: ModelSpec, made: (keys: Value, values: Value) => void): Attention {
  const { heads, kvHeads, headDim: d } = spec;
  return (scope, q0, k0, v0) => {
    const rowsOf = (x: Value): Value => unflatten(x, scope.input('lengths', [2], 'int64'));
    const shape = { batch: FREE, time: FREE, heads, kvHeads, headDim: d };
    const [q, k, v] = positioned(scope, shape, spec.maxPositions, rowsOf(q0), rowsOf(k0), rowsOf(v0));
    const all = (name: string, fresh: Value): Value =>
      concat([scope.input(`past.${name}`, [FREE, kvHeads, FREE, d]), fresh], 2);
    const [keys, values] = [all('key', k), all('value', v)];
    made(keys, values);
    // One set of keys for all queries of a group.
    const shared = (x: Value): Value => reshape(x, [FREE, kvHeads, 1, FREE, d]);
    const scores = bmm(q, shared(keys), { transB: true, alpha: 1 / Math.sqrt(d) });
    const mask = scope.input('mask', [FREE, 1, 1, FREE, FREE]);
    const output = bmm(softmax(add(scores, mask)), shared(values));
    return reshape(transpose(output, [0, 3, 1, 2, 4]), [FREE, heads * d]);
  };
}
