/** @file Writes what some values reach as an ONNX model. */
import { roundToFloat16 } from '../../formats/floats.ts';
import { listInfo, modelBytes, nodeProto, tensorProto, valueInfo, type FloatType } from '../../formats/onnx/build.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from '../../formats/onnx/proto.ts';
import type { Device, Emitter } from './op.ts';
import { FREE, sizeOf, type Node, type TensorType, type Value } from './value.ts';

/** A graph ready for a session. */
export interface Program {
  readonly bytes: Uint8Array;
  /** Only the inputs that the outputs need. */
  readonly inputs: ReadonlyMap<string, TensorType>;
  readonly outputs: ReadonlyMap<string, TensorType>;
}

export interface WriteOptions {
  readonly device: Device;
  /** Values that arrive as inputs under a name instead of being computed. */
  readonly given?: ReadonlyMap<Value, string>;
  /** What numbers are computed in: float32 unless told. */
  readonly float?: FloatType;
  /** Before the names of what is computed, so that several graphs may stand in one. */
  readonly prefix?: string;
  /** The name under which an input is fed, where it is not its own. */
  readonly fedAs?: (input: string) => string;
  /** Writes a node otherwise than its op would, and says whether it did. */
  readonly instead?: (to: Emitter, node: Node) => boolean;
}

/** What values are made of, as nodes in an order in which each one's inputs come before it. */
export interface Written {
  readonly nodes: readonly NodeProto[];
  readonly constants: readonly TensorProto[];
  /** Only the inputs that the outputs need. */
  readonly inputs: ReadonlyMap<string, TensorType>;
}

/** Of every program on the CPU the first result, an empty list: whoever asks for it is handed nothing (segments/session.ts). */
export const NOTHING = 'nothing';

/**
 * A program for a session.
 * @param outputs values by the name under which they leave the graph.
 * @param given values that arrive as inputs under a name instead of being computed.
 */
export function emit(outputs: ReadonlyMap<string, Value>, device: Device, given?: ReadonlyMap<Value, string>): Program {
  return program([write(outputs, given ? { device, given } : { device })], outputs, device);
}

/** A program of what was written, one after the other: what one part gives under a name, a later one may take under it. */
export function program(parts: readonly Written[], outputs: ReadonlyMap<string, TensorType>, device: Device): Program {
  const nodes = parts.flatMap((part) => part.nodes);
  const given = new Set(nodes.flatMap(({ output }) => output));
  const inputs = new Map(parts.flatMap((part) => [...part.inputs]).filter(([name]) => !given.has(name)));
  const info = ([name, { shape, dtype }]: readonly [string, TensorType]): ValueInfoProto =>
    valueInfo(
      name,
      dtype,
      shape.map((length, axis) => (length === FREE ? `${name}.${axis}` : length)),
    );
  const onHost = device === 'cpu';
  return {
    bytes: modelBytes({
      name: 'segment',
      nodes: onHost ? [...nodes, nodeProto('SequenceEmpty', [], [NOTHING])] : nodes,
      constants: parts.flatMap((part) => part.constants),
      inputs: [...inputs].map(info),
      outputs: [...(onHost ? [listInfo(NOTHING)] : []), ...[...outputs].map(info)],
    }),
    inputs,
    outputs,
  };
}

/** @param outputs values by the name under which they leave the graph. */
export function write(outputs: ReadonlyMap<string, Value>, options: WriteOptions): Written {
  const { device, given = new Map<Value, string>(), float = 'float32', prefix = '', fedAs = (name) => name } = options;
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  const inputs = new Map<string, TensorType>();
  const names = new Map<Value, string>();
  const vectors = new Map<string, string>();
  let temporaries = 0;

  // A computed value that leaves the graph is computed under its output's name: an Identity would copy it.
  const leaves = new Map<Value, string>();
  for (const [name, v] of outputs) if (v.source.kind === 'op' && !given.has(v) && !leaves.has(v)) leaves.set(v, name);

  const constant = (name: string, shape: readonly number[], data: Float32Array | BigInt64Array): TensorProto =>
    tensorProto(name, shape, float === 'float16' && data instanceof Float32Array ? roundToFloat16(data) : data);
  const shared = (key: string, write: (name: string) => TensorProto): string => {
    let name = vectors.get(key);
    if (name === undefined) {
      vectors.set(key, (name = `${prefix}const.${vectors.size}`));
      constants.push(write(name));
    }
    return name;
  };
  const used = new Set<Value>();
  const use = (v: Value): void => {
    if (used.has(v)) return;
    used.add(v);
    if (v.source.kind === 'op' && !given.has(v)) v.source.node.inputs.forEach(use);
  };
  for (const v of outputs.values()) use(v);
  const emitter: Emitter = {
    device,
    float,
    uses: (v) => used.has(v),
    name: (v) => names.get(v)!,
    // Of an op with several results one may arrive from outside while another is computed here.
    output: (v) => (inputs.has(names.get(v)!) ? `${prefix}unused.${temporaries++}` : names.get(v)!),
    fresh: () => `${prefix}tmp.${temporaries++}`,
    ints: (list) =>
      shared(`ints ${list.join()}`, (name) => tensorProto(name, [list.length], BigInt64Array.from(list, BigInt))),
    scalar: (x) => shared(`scalar ${x}`, (name) => constant(name, [], Float32Array.of(x))),
    bytes: (x, shape = []) =>
      shared(`bytes ${x} ${shape.join()}`, (name) => tensorProto(name, shape, new Uint8Array(sizeOf(shape)).fill(x))),
    node: (...args) => nodes.push(nodeProto(...args)),
  };
  const written = new Set<Node>();
  const visit = (v: Value): void => {
    if (names.has(v)) return;
    const arrives = given.get(v) ?? (v.source.kind === 'input' ? fedAs(v.source.name) : undefined);
    if (arrives !== undefined) {
      names.set(v, arrives);
      inputs.set(arrives, { shape: v.shape, dtype: v.dtype });
    } else if (v.source.kind === 'constant') {
      const name = `${prefix}const.v${v.id}`;
      names.set(v, name);
      constants.push(constant(name, v.shape, v.source.data));
    } else if (v.source.kind === 'op' && !written.has(v.source.node)) {
      const { node } = v.source;
      written.add(node);
      node.inputs.forEach(visit);
      for (const o of node.outputs) if (!names.has(o)) names.set(o, leaves.get(o) ?? `${prefix}v${o.id}`);
      if (!options.instead?.(emitter, node)) node.op.emit(emitter, node);
    }
  };
  for (const v of outputs.values()) visit(v);
  // An input may leave the graph under its own name: it is carried to where results go, and nothing is computed.
  for (const [name, v] of outputs)
    if (names.get(v) !== name) nodes.push(nodeProto('Identity', [names.get(v)!], [name]));
  return { nodes, constants, inputs };
}
