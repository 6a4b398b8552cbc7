/** @file What an op is: one entry with its shape rule, its emission as ONNX, and its vector-Jacobian product. Nothing else needs to know it. */
import type { Attribute, FloatType } from '../../formats/onnx/build.ts';
import type { Attrs, Node, TensorType, Value } from './value.ts';

/** Where a graph will run. Some ops are written differently for each. */
export type Device = 'cpu' | 'webgpu';

/** Writes ONNX nodes for one graph. */
export interface Emitter {
  readonly device: Device;
  /** What the graph's numbers are computed in. */
  readonly float: FloatType;
  /** The name under which a value is known in this graph. */
  name(value: Value): string;
  /** The name under which a node's result is written. */
  output(value: Value): string;
  /** Whether a node's result is taken by anything. */
  uses(value: Value): boolean;
  /** A fresh name, for what an op needs between its own nodes. */
  fresh(): string;
  /** Name of an int64 vector constant: shapes, axes, sizes. */
  ints(list: readonly number[]): string;
  /** Name of a scalar constant. */
  scalar(x: number): string;
  /** Name of a uint8 constant of one number, a scalar unless a shape is given: zero points. */
  bytes(x: number, shape?: readonly number[]): string;
  node(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
    domain?: string,
  ): void;
}

export interface Op<A extends Attrs = Attrs> {
  readonly name: string;
  /** 'keep': slow to compute, so its result is saved for the backward pass. 'again': quick, computed again from what is saved. */
  readonly backward: 'keep' | 'again';
  /** The shape rule. Throws ShapeError on inputs that do not fit. */
  types(inputs: readonly Value[], attrs: A): readonly TensorType[];
  emit(to: Emitter, node: Node<A>): void;
  /** Bytes that its own nodes hold between them, where that is much. */
  inner?(node: Node<A>, device: Device): number;
  /**
   * Cotangents of the inputs for the cotangents `dy` of the outputs (undefined where an output is not used).
   * Undefined where there is none: integer inputs, constants by nature.
   */
  vjp(node: Node<A>, dy: readonly (Value | undefined)[]): readonly (Value | undefined)[];
}

/** Domain of ONNX Runtime's own ops. */
export const CONTRIB = 'com.microsoft';

/** Names of a node's inputs and outputs in the graph being written. */
export const ends = (to: Emitter, node: Node): [string[], string[]] => [
  node.inputs.map((v) => to.name(v)),
  node.outputs.map((v) => to.output(v)),
];

/** Writes a node between others of an op. @returns the name of its result. */
export function step(
  to: Emitter,
  opType: string,
  inputs: readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
): string {
  const result = to.fresh();
  to.node(opType, inputs, [result], attributes);
  return result;
}

/** The name of a value with its last two axes exchanged. */
export const turned = (to: Emitter, name: string, rank: number): string =>
  step(to, 'Transpose', [name], { perm: [...Array(rank - 2).keys(), rank - 1, rank - 2] });

/** An emission that is one ONNX node with the op's attributes as they are. */
export const plain =
  (opType: string) =>
  (to: Emitter, node: Node): void =>
    to.node(opType, ...ends(to, node), node.attrs);
