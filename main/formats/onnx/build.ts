/** @file Shorthands for writing ONNX models: tensors, nodes, inputs and outputs, and the model around them. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './proto.ts';

/** A number is an INT and a list is INTS; a float is wrapped, as in `{ float: 1 }`. */
export type Attribute = number | readonly number[] | string | { readonly float: number };

export type FloatType = 'float32' | 'float16';
export type ElementType = FloatType | 'int64' | 'int8' | 'uint8';
/** What a constant of each type is given as; 16-bit words are halves. */
export type ConstantData = Float32Array | Uint16Array | BigInt64Array | Int8Array | Uint8Array;
/** TensorProto.DataType. */
const ELEMENT: Readonly<Record<ElementType, number>> = { float32: 1, uint8: 2, int8: 3, int64: 7, float16: 10 };
/** As ONNX's Cast takes it. */
export const elementType = (type: ElementType): number => ELEMENT[type];

/** Operator sets that Fettle's graphs import: ONNX itself, and the contrib ops of ONNX Runtime. */
const OPSETS = [
  { domain: '', version: 21n },
  { domain: 'com.microsoft', version: 1n },
];
/** IR version that belongs to opset 21. */
const IR_VERSION = 10n;

/** The element type that an array's numbers are. */
export function elementTypeOf(data: ConstantData): ElementType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Uint16Array) return 'float16';
  if (data instanceof BigInt64Array) return 'int64';
  return data instanceof Int8Array ? 'int8' : 'uint8';
}

/** A constant, row-major; its bytes are taken as they lie in memory (little-endian, as ONNX wants them). */
export function tensorProto(name: string, dims: readonly number[], data: ConstantData): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: ELEMENT[elementTypeOf(data)],
    rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
}

/** A constant whose bytes lie in another file beside the model's. */
export function externalTensorProto(
  name: string,
  type: ElementType,
  dims: readonly number[],
  { location, offset, length }: { readonly location: string; readonly offset: number; readonly length: number },
): TensorProto {
  const entries = { location, offset, length };
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: ELEMENT[type],
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value: String(value) })),
  });
}

/** The type of a graph's input or output; a dimension given as text is free. */
export function valueInfo(name: string, type: ElementType, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((d) => (typeof d === 'number' ? { dimValue: BigInt(d) } : { dimParam: d }));
  return create(ValueInfoProtoSchema, { name, type: { tensorType: { elemType: ELEMENT[type], shape: { dim } } } });
}

/** The type of a result that is a list of float32 tensors. */
export const listInfo = (name: string): ValueInfoProto => {
  const tensorType = { elemType: ELEMENT.float32 };
  return create(ValueInfoProtoSchema, { name, type: { sequenceType: { elemType: { tensorType } } } });
};

export function nodeProto(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
  domain = '',
): NodeProto {
  const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
  return create(NodeProtoSchema, { opType, input: [...input], output: [...output], attribute, domain });
}

function attributeProto(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, i: BigInt(value), type: 2 });
  if (typeof value === 'string')
    return create(AttributeProtoSchema, { name, s: new TextEncoder().encode(value), type: 3 });
  if ('float' in value) return create(AttributeProtoSchema, { name, f: value.float, type: 1 });
  return create(AttributeProtoSchema, { name, ints: value.map(BigInt), type: 7 });
}

/** A whole model file. Nodes must be in an order in which each one's inputs come before it. */
export function modelBytes(graph: {
  readonly name: string;
  readonly nodes: readonly NodeProto[];
  readonly constants: readonly TensorProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
}): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: IR_VERSION,
      producerName: 'fettle',
      opsetImport: OPSETS,
      graph: {
        name: graph.name,
        node: [...graph.nodes],
        initializer: [...graph.constants],
        input: [...graph.inputs],
        output: [...graph.outputs],
      },
    }),
  );
}
