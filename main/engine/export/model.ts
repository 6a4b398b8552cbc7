/** @file A model's graph with its weights stored in 32, 16, 8 or 4 bits, ready to be written tensor by tensor. */
import { roundToFloat16 } from '../../formats/floats.ts';
import { keepsMoreBits } from '../../formats/mix.ts';
import type { WeightSource } from '../../formats/model.ts';
import type { FloatType } from '../../formats/onnx/build.ts';
import { BLOCK, dividesByBlocks, quantiseBlocks, zeroPointBytes, type Bits } from '../../formats/onnx/quantise.ts';
import type { TensorGroup, TensorToWrite } from '../../formats/onnx/write.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import { CONTRIB, step, type Emitter } from '../graph/op.ts';
import type { Node } from '../graph/value.ts';
import { rotaryTables } from '../model/rotary-tables.ts';
import { numbers } from '../segments/session.ts';
import { readWanted, wantedBy, type Wanted } from '../model/weights.ts';
import { decoderGraph, kindName, kindsOf, weightName, type DecoderGraph } from './graph.ts';

export type OnnxType = 'f32' | 'f16' | 'q8' | 'q4';

export interface OnnxModel {
  readonly graph: DecoderGraph;
  readonly groups: readonly TensorGroup[];
}

interface Stored {
  readonly wanted: Wanted;
  /** Undefined where the numbers stay as they are. */
  readonly bits: Bits | undefined;
}

/** Nothing is read before a group's turn comes. */
export function onnxModel(spec: ModelSpec, source: WeightSource, type: OnnxType): OnnxModel {
  const float: FloatType = type === 'f16' ? 'float16' : 'float32';
  const stored = storage(spec, type);
  const graph = decoderGraph(spec, { float, instead: (to, node) => writeQuantised(to, node, stored) });
  const groups = [...stored].map(([name, { wanted, bits }]): TensorGroup => {
    if (bits === undefined)
      return {
        tensors: [{ name, type: float, dims: wanted.shape }],
        read: async () => [floats(await readWanted(wanted, source), float)],
      };
    return quantisedGroup(name, wanted, bits, source);
  });
  return { graph, groups: [...groups, ...tables(spec, float)] };
}

/** Weights that keep eight bits in half of the blocks where the others have four: the loss changed by a third less for 9% more bytes. */
const MORE_BITS = /^(qkv|down)\..*weight$/;

/** What is stored how, by its name in the graph. A tied head is the embedding's own table. */
function storage(spec: ModelSpec, type: OnnxType): Map<string, Stored> {
  const { embedding, final, head, layers } = wantedBy(spec);
  const bits = type === 'q8' ? 8 : type === 'q4' ? 4 : undefined;
  // Every answer goes through embedding and head: they keep eight bits.
  const ends = bits === undefined ? undefined : 8;
  const of = (wanted: Wanted, bits: Bits | undefined): Stored => ({
    wanted,
    bits: wanted.shape.length === 2 && dividesByBlocks(wanted.shape[1]!) ? bits : undefined,
  });
  const all = new Map<string, Stored>();
  // Learned positions are few, and stay as they are.
  for (const wanted of embedding)
    all.set(weightName(wanted.name), of(wanted, wanted.name === 'embedding' ? ends : undefined));
  if (!isTied(spec)) all.set(weightName('head'), of(head, ends));
  layers.forEach((layer, i) => {
    const more = bits === 4 && keepsMoreBits(i, spec.layers);
    for (const wanted of layer)
      all.set(weightName(wanted.name, i), of(wanted, more && MORE_BITS.test(wanted.name) ? 8 : bits));
  });
  for (const wanted of final) all.set(weightName(wanted.name), of(wanted, undefined));
  return all;
}

/**
 * The runtime may round a product's other side to 8 bits as well, each block of 32 of a row by itself: without that it
 * widens the weights anew for every token, which took 20 times longer (docs/decisions/exports.md).
 */
const ACCURACY_LEVEL = 4;

const quantisedNames = (name: string): Record<'values' | 'scales' | 'zeros', string> => ({
  values: `${name}.values`,
  scales: `${name}.scales`,
  zeros: `${name}.zeros`,
});

function quantisedGroup(name: string, wanted: Wanted, bits: Bits, source: WeightSource): TensorGroup {
  const [rows, columns] = wanted.shape as [number, number];
  const blocks = columns / BLOCK;
  const { values, scales, zeros } = quantisedNames(name);
  const tensors: TensorToWrite[] = [
    { name: values, type: 'uint8', dims: [rows, blocks, (BLOCK * bits) / 8] },
    { name: scales, type: 'float32', dims: [rows, blocks] },
  ];
  if (bits === 4) tensors.push({ name: zeros, type: 'uint8', dims: [rows, zeroPointBytes(columns)] });
  return {
    tensors,
    read: async () => {
      const made = quantiseBlocks(await readWanted(wanted, source), columns, bits);
      const pieces = [made.values, bytes(made.scales)];
      return made.zeroPoints ? [...pieces, made.zeroPoints] : pieces;
    },
  };
}

/** Products with quantised weights, and rows of a quantised table, by ONNX Runtime's own operators. */
function writeQuantised(to: Emitter, node: Node, stored: ReadonlyMap<string, Stored>): boolean {
  const name = node.inputs.map((v) => to.name(v));
  const [y] = node.outputs.map((v) => to.output(v));
  const at = node.op.name === 'rows' ? 0 : 1;
  const found = node.op.name === 'rows' || node.op.name === 'gemm' ? stored.get(name[at]!) : undefined;
  if (!found?.bits) return false;
  const { bits } = found;
  const { values, scales, zeros } = quantisedNames(name[at]!);
  const [N, K] = found.wanted.shape as [number, number];
  if (node.op.name === 'rows') {
    const table = step(to, 'Reshape', [values, to.ints([N, (K * bits) / 8])]);
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: BLOCK, bits };
    to.node(
      'GatherBlockQuantized',
      [table, name[1]!, scales, ...(bits === 4 ? [zeros] : [])],
      [y!],
      attributes,
      CONTRIB,
    );
    return true;
  }
  const { transA, transB, alpha } = node.attrs;
  if (transA === 1 || transB !== 1 || alpha !== 1) throw new TypeError('a quantised weight is multiplied as x W only');
  const [, , added] = name;
  const product = added === undefined ? y! : to.fresh();
  const inputs = [name[0]!, values, scales, ...(bits === 4 ? [zeros] : [])];
  const attributes = { K, N, bits, block_size: BLOCK, accuracy_level: ACCURACY_LEVEL };
  to.node('MatMulNBits', inputs, [product], attributes, CONTRIB);
  if (added !== undefined) to.node('Add', [product, added], [y!]);
  return true;
}

/** cos and sin of every position, for each kind of layers that turns by them. */
const tables = (spec: ModelSpec, float: FloatType): TensorGroup[] =>
  kindsOf(spec)
    .filter(({ rotary }) => rotary)
    .map((kind) => {
      const dims = [spec.maxPositions, kind.rotary!.frequencies.length];
      return {
        tensors: ['cos', 'sin'].map((name) => ({ name: kindName(spec, name, kind), type: float, dims })),
        read: () => {
          const { cos, sin } = rotaryTables(kind, spec.maxPositions, ['short']);
          return Promise.resolve([cos!, sin!].map((table) => floats(numbers(table), float)));
        },
      };
    });

const bytes = (data: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const floats = (data: Float32Array, float: FloatType): Uint8Array =>
  bytes(float === 'float16' ? roundToFloat16(data) : data);
