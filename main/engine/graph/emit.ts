/** @file Writes what some values reach as an ONNX model. */
import { modelBytes, nodeProto, tensorProto, valueInfo } from '../../formats/onnx/build.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from '../../formats/onnx/proto.ts';
import type { Device, Emitter } from './op.ts';
import { sizeOf, type Node, type TensorType, type Value } from './value.ts';

/** A graph ready for a session. */
export interface Program {
  readonly bytes: Uint8Array;
  /** Only the inputs that the outputs need. */
  readonly inputs: ReadonlyMap<string, TensorType>;
  readonly outputs: ReadonlyMap<string, TensorType>;
}

/**
 * @param outputs values by the name under which they leave the graph.
 * @param given values that arrive as inputs under a name instead of being computed.
 */
export function emit(
  outputs: ReadonlyMap<string, Value>,
  device: Device,
  given: ReadonlyMap<Value, string> = new Map(),
): Program {
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  const inputs = new Map<string, TensorType>();
  const names = new Map<Value, string>();
  const vectors = new Map<string, string>();
  let temporaries = 0;

  // A computed value that leaves the graph is computed under its output's name: an Identity would copy it.
  const leaves = new Map<Value, string>();
  for (const [name, v] of outputs) if (v.source.kind === 'op' && !given.has(v) && !leaves.has(v)) leaves.set(v, name);

  const shared = (key: string, write: (name: string) => TensorProto): string => {
    let name = vectors.get(key);
    if (name === undefined) {
      vectors.set(key, (name = `const.${vectors.size}`));
      constants.push(write(name));
    }
    return name;
  };
  const emitter: Emitter = {
    device,
    name: (v) => names.get(v)!,
    // Of an op with several results one may arrive from outside while another is computed here.
    output: (v) => (inputs.has(names.get(v)!) ? `unused.${temporaries++}` : names.get(v)!),
    fresh: () => `tmp.${temporaries++}`,
    ints: (list) =>
      shared(`ints ${list.join()}`, (name) => tensorProto(name, [list.length], BigInt64Array.from(list, BigInt))),
    scalar: (x) => shared(`scalar ${x}`, (name) => tensorProto(name, [], Float32Array.of(x))),
    bytes: (x, shape = []) =>
      shared(`bytes ${x} ${shape.join()}`, (name) => tensorProto(name, shape, new Uint8Array(sizeOf(shape)).fill(x))),
    node: (...args) => nodes.push(nodeProto(...args)),
  };
  const written = new Set<Node>();
  const visit = (v: Value): void => {
    if (names.has(v)) return;
    const arrives = given.get(v) ?? (v.source.kind === 'input' ? v.source.name : undefined);
    if (arrives !== undefined) {
      names.set(v, arrives);
      inputs.set(arrives, { shape: v.shape, dtype: v.dtype });
    } else if (v.source.kind === 'constant') {
      names.set(v, `const.v${v.id}`);
      constants.push(tensorProto(`const.v${v.id}`, v.shape, v.source.data));
    } else if (v.source.kind === 'op' && !written.has(v.source.node)) {
      const { node } = v.source;
      written.add(node);
      node.inputs.forEach(visit);
      for (const o of node.outputs) if (!names.has(o)) names.set(o, leaves.get(o) ?? `v${o.id}`);
      node.op.emit(emitter, node);
    }
  };
  for (const v of outputs.values()) visit(v);
  for (const [name, v] of outputs)
    if (leaves.get(v) !== name) nodes.push(nodeProto('Identity', [names.get(v)!], [name]));

  const info = ([name, { shape, dtype }]: readonly [string, TensorType]): ValueInfoProto =>
    valueInfo(name, dtype, shape);
  return {
    bytes: modelBytes({
      name: 'segment',
      nodes,
      constants,
      inputs: [...inputs].map(info),
      outputs: [...outputs].map(info),
    }),
    inputs,
    outputs,
  };
}
