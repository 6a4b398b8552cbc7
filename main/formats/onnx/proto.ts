/** @file The part of ONNX's schema (onnx.proto, proto2) that Fettle reads and writes, as a runtime descriptor: no generated code. */
import { create, toBinary, type Message } from '@bufbuild/protobuf';
import { base64Encode } from '@bufbuild/protobuf/wire';
import { fileDesc, messageDesc, type GenMessage } from '@bufbuild/protobuf/codegenv2';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';

export type ModelProto = Message<'onnx.ModelProto'> & {
  irVersion: bigint;
  producerName: string;
  producerVersion: string;
  graph?: GraphProto;
  opsetImport: OperatorSetIdProto[];
};
export type OperatorSetIdProto = Message<'onnx.OperatorSetIdProto'> & { domain: string; version: bigint };
export type GraphProto = Message<'onnx.GraphProto'> & {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  input: ValueInfoProto[];
  output: ValueInfoProto[];
};
export type NodeProto = Message<'onnx.NodeProto'> & {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  attribute: AttributeProto[];
  domain: string;
};
export type AttributeProto = Message<'onnx.AttributeProto'> & {
  name: string;
  f: number;
  i: bigint;
  s: Uint8Array;
  t?: TensorProto;
  floats: number[];
  ints: bigint[];
  strings: Uint8Array[];
  /** FLOAT 1, INT 2, STRING 3, TENSOR 4, FLOATS 6, INTS 7, STRINGS 8. */
  type: number;
};
export type TensorProto = Message<'onnx.TensorProto'> & {
  dims: bigint[];
  /** FLOAT 1, UINT8 2, INT8 3, INT32 6, INT64 7, BOOL 9, FLOAT16 10. */
  dataType: number;
  name: string;
  rawData: Uint8Array;
  externalData: StringStringEntryProto[];
  /** DEFAULT 0, EXTERNAL 1. */
  dataLocation: number;
};
export type StringStringEntryProto = Message<'onnx.StringStringEntryProto'> & { key: string; value: string };
export type ValueInfoProto = Message<'onnx.ValueInfoProto'> & { name: string; type?: TypeProto };
export type TypeProto = Message<'onnx.TypeProto'> & { tensorType?: TypeTensor; sequenceType?: TypeSequence };
export type TypeSequence = Message<'onnx.TypeSequence'> & { elemType?: TypeProto };
export type TypeTensor = Message<'onnx.TypeTensor'> & { elemType: number; shape?: TensorShapeProto };
export type TensorShapeProto = Message<'onnx.TensorShapeProto'> & { dim: Dimension[] };
/** A fixed size (`dimValue`) or a named free one (`dimParam`); set one of the two. */
export type Dimension = Message<'onnx.Dimension'> & { dimValue: bigint; dimParam: string };

/** Fields of a message: `name: [number, type]`, with `*` after the type where repeated. A type that is no scalar is a message. */
type Fields = Readonly<Record<string, readonly [number, string]>>;
const SCALARS: Readonly<Record<string, Type>> = {
  string: Type.STRING,
  bytes: Type.BYTES,
  int64: Type.INT64,
  int32: Type.INT32,
  float: Type.FLOAT,
};
/** Field numbers from onnx.proto (ONNX 1.17). Message names only matter inside this file. */
const MESSAGES: readonly (readonly [string, Fields])[] = [
  [
    'ModelProto',
    {
      ir_version: [1, 'int64'],
      producer_name: [2, 'string'],
      producer_version: [3, 'string'],
      graph: [7, 'GraphProto'],
      opset_import: [8, 'OperatorSetIdProto*'],
    },
  ],
  ['OperatorSetIdProto', { domain: [1, 'string'], version: [2, 'int64'] }],
  [
    'GraphProto',
    {
      node: [1, 'NodeProto*'],
      name: [2, 'string'],
      initializer: [5, 'TensorProto*'],
      input: [11, 'ValueInfoProto*'],
      output: [12, 'ValueInfoProto*'],
    },
  ],
  [
    'NodeProto',
    {
      input: [1, 'string*'],
      output: [2, 'string*'],
      name: [3, 'string'],
      op_type: [4, 'string'],
      attribute: [5, 'AttributeProto*'],
      domain: [7, 'string'],
    },
  ],
  [
    'AttributeProto',
    {
      name: [1, 'string'],
      f: [2, 'float'],
      i: [3, 'int64'],
      s: [4, 'bytes'],
      t: [5, 'TensorProto'],
      floats: [7, 'float*'],
      ints: [8, 'int64*'],
      strings: [9, 'bytes*'],
      type: [20, 'int32'],
    },
  ],
  [
    'TensorProto',
    {
      dims: [1, 'int64*'],
      data_type: [2, 'int32'],
      name: [8, 'string'],
      raw_data: [9, 'bytes'],
      external_data: [13, 'StringStringEntryProto*'],
      data_location: [14, 'int32'],
    },
  ],
  ['StringStringEntryProto', { key: [1, 'string'], value: [2, 'string'] }],
  ['ValueInfoProto', { name: [1, 'string'], type: [2, 'TypeProto'] }],
  ['TypeProto', { tensor_type: [1, 'TypeTensor'], sequence_type: [4, 'TypeSequence'] }],
  ['TypeSequence', { elem_type: [1, 'TypeProto'] }],
  ['TypeTensor', { elem_type: [1, 'int32'], shape: [2, 'TensorShapeProto'] }],
  ['TensorShapeProto', { dim: [1, 'Dimension*'] }],
  ['Dimension', { dim_value: [1, 'int64'], dim_param: [2, 'string'] }],
];

const file = fileDesc(
  base64Encode(
    toBinary(
      FileDescriptorProtoSchema,
      create(FileDescriptorProtoSchema, {
        name: 'onnx.proto',
        package: 'onnx',
        syntax: 'proto2',
        messageType: MESSAGES.map(([name, fields]) => ({
          name,
          field: Object.entries(fields).map(([field, [number, kind]]) => {
            const type = kind.replace('*', '');
            const scalar = SCALARS[type];
            const label = kind.endsWith('*') ? Label.REPEATED : Label.OPTIONAL;
            return scalar === undefined
              ? { name: field, number, label, type: Type.MESSAGE, typeName: `.onnx.${type}` }
              : { name: field, number, label, type: scalar };
          }),
        })),
      }),
    ),
  ),
);

const schema = <M extends Message>(name: string): GenMessage<M> =>
  messageDesc(
    file,
    MESSAGES.findIndex(([n]) => n === name),
  );

export const ModelProtoSchema = schema<ModelProto>('ModelProto');
export const NodeProtoSchema = schema<NodeProto>('NodeProto');
export const AttributeProtoSchema = schema<AttributeProto>('AttributeProto');
export const TensorProtoSchema = schema<TensorProto>('TensorProto');
export const ValueInfoProtoSchema = schema<ValueInfoProto>('ValueInfoProto');
