/** @file Runs graphs in float64 on the CPU, written with plain operators: an oracle for ops in float32, and what finite differences are taken of. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { modelBytes, tensorProto, valueInfo } from '../../main/formats/onnx/build.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from '../../main/formats/onnx/proto.ts';
import { write } from '../../main/engine/graph/emit.ts';
import { ends, type Emitter } from '../../main/engine/graph/op.ts';
import type { Node, TensorType, Value } from '../../main/engine/graph/value.ts';

/** TensorProto.DataType. */
const [FLOAT, UINT8, DOUBLE] = [1, 2, 11];

export interface DoubleProgram {
  readonly session: InferenceSession;
  readonly inputs: ReadonlyMap<string, TensorType>;
}

/** Ops whose kernels take no float64 (or compute in float32 all the same), by what they mean, in plain operators. */
const MEANING: Readonly<Record<string, (to: Emitter, node: Node) => void>> = {
  gemm(to, node) {
    const { apply, cast, ends } = plainly(to, node);
    const [[a, b, c], [y]] = ends;
    const turned = (x: string, turn: unknown): string => (turn ? apply('Transpose', x) : x);
    const { transA, transB, alpha } = node.attrs;
    const right = node.inputs[1]!.dtype === 'float16' ? cast(b!, DOUBLE) : b!;
    const product = apply('MatMul', turned(a!, transA), turned(right, transB));
    const scaled = apply('Mul', product, to.scalar(alpha as number));
    to.node(c === undefined ? 'Identity' : 'Add', c === undefined ? [scaled] : [scaled, c], [y!]);
  },
  gelu(to, node) {
    const { apply, ends } = plainly(to, node);
    const [[x], [y]] = ends;
    const cube = apply('Mul', x!, apply('Mul', x!, x!));
    const inner = apply('Add', x!, apply('Mul', cube, to.scalar(0.044715)));
    const t = apply('Tanh', apply('Mul', inner, to.scalar(Math.sqrt(2 / Math.PI))));
    to.node('Mul', [apply('Mul', x!, to.scalar(0.5)), apply('Add', t, to.scalar(1))], [y!]);
  },
  rotary(to, node) {
    const { apply, shaped, axis, ends } = plainly(to, node);
    const [[x, positions, cos, sin], [y]] = ends;
    const [batch, time, width] = node.inputs[0]!.shape as [number, number, number];
    const pairs = node.inputs[2]!.shape[1]!;
    const table = (of: string): string => shaped(apply('Gather', of, positions!), [batch, time, 1, pairs]);
    const heads = shaped(x!, [batch, time, width / (2 * pairs), 2 * pairs]);
    const half = (from: number): string =>
      apply('Slice', heads, to.ints([from]), to.ints([from + pairs]), to.ints([3]));
    const [a, b, c, s] = [half(0), half(pairs), table(cos!), table(sin!)];
    const turned = [
      apply('Sub', apply('Mul', a, c), apply('Mul', b, s)),
      apply('Add', apply('Mul', b, c), apply('Mul', a, s)),
    ];
    to.node('Reshape', [axis('Concat', turned, 3), to.ints([batch, time, width])], [y!]);
  },
  layerNorm(to, node) {
    const { apply, mean: meanOf, ends } = plainly(to, node);
    const [[x, w, b], [y, mean, r]] = ends;
    to.node('Identity', [meanOf(x!)], [mean!]);
    const away = apply('Sub', x!, mean!);
    const variance = apply('Add', meanOf(apply('Mul', away, away)), to.scalar(node.attrs['epsilon'] as number));
    to.node('Reciprocal', [apply('Sqrt', variance)], [r!]);
    to.node('Add', [apply('Mul', apply('Mul', away, r!), w!), b!], [y!]);
  },
  rmsNorm(to, node) {
    const { apply, mean, ends } = plainly(to, node);
    const [[x, w], [y, r]] = ends;
    const square = apply('Add', mean(apply('Mul', x!, x!)), to.scalar(node.attrs['epsilon'] as number));
    to.node('Reciprocal', [apply('Sqrt', square)], [r!]);
    to.node('Mul', [apply('Mul', x!, r!), w!], [y!]);
  },
  quantiseRows(to, node) {
    const { apply, cast, ends } = plainly(to, node);
    const [[x], [q, s]] = ends;
    const [zero, largest] = node.attrs['signed'] ? [128, 127] : [0, 255];
    const peak = to.fresh();
    to.node('ReduceMax', [apply('Abs', x!), to.ints([1])], [peak], { keepdims: 1 });
    to.node('Div', [peak, to.scalar(largest)], [s!]);
    const steps = apply('Add', apply('Round', apply('Div', x!, s!)), to.scalar(zero));
    to.node('Cast', [cast(steps, UINT8)], [q!], { to: UINT8 });
  },
  int8Product(to, node) {
    const { apply, cast, ends } = plainly(to, node);
    const [[q, s, w, ws], [y]] = ends;
    const rows = apply('Mul', apply('Sub', cast(q!, DOUBLE), to.scalar(node.attrs['signed'] ? 128 : 0)), s!);
    to.node('MatMul', [rows, apply('Mul', cast(w!, DOUBLE), ws!)], [y!]);
  },
  quantiseRow(to, node) {
    const { apply, end, ends } = plainly(to, node);
    const [[x], [q, s, z]] = ends;
    const [lowest, highest] = [
      apply('Min', end('ReduceMin', x!), to.scalar(0)),
      apply('Max', end('ReduceMax', x!), to.scalar(0)),
    ];
    to.node('Div', [apply('Sub', highest, lowest), to.scalar(255)], [s!]);
    const zero = apply('Round', apply('Div', apply('Neg', lowest), s!));
    to.node('Cast', [zero], [z!], { to: UINT8 });
    const steps = apply('Add', apply('Round', apply('Div', x!, s!)), zero);
    const within = apply('Max', apply('Min', steps, to.scalar(255)), to.scalar(0));
    to.node('Cast', [within], [q!], { to: UINT8 });
  },
  int8RowProduct(to, node) {
    const { apply, cast, ends } = plainly(to, node);
    const [[q, s, z, w, ws], [y]] = ends;
    const row = apply('Mul', apply('Sub', cast(q!, DOUBLE), cast(z!, DOUBLE)), s!);
    to.node('MatMul', [row, apply('Mul', cast(w!, DOUBLE), ws!)], [y!]);
  },
  int4Product(to, node) {
    const { cast, ends } = plainly(to, node);
    const [[x, bits, scale, zero], [y]] = ends;
    const turned = to.fresh();
    to.node('Transpose', [unpacked(to, node, [bits!, scale!, cast(zero!, DOUBLE)])], [turned], { perm: [1, 0] });
    to.node('MatMul', [x!, turned], [y!]);
  },
  int4Gradient(to, node) {
    const { cast, ends } = plainly(to, node);
    const [[dy, bits, scale, zero], [dx]] = ends;
    to.node('MatMul', [dy!, unpacked(to, node, [bits!, scale!, cast(zero!, DOUBLE)])], [dx!]);
  },
};

/** Shorthands for nodes with one result that only the next ones need. */
function plainly(to: Emitter, node: Node) {
  const one = (opType: string, inputs: readonly string[], attributes: Parameters<Emitter['node']>[3] = {}): string => {
    const result = to.fresh();
    to.node(opType, inputs, [result], attributes);
    return result;
  };
  return {
    ends: ends(to, node),
    apply: (opType: string, ...inputs: readonly string[]) => one(opType, inputs),
    shaped: (x: string, shape: readonly number[]) => one('Reshape', [x, to.ints(shape)]),
    axis: (opType: string, inputs: readonly string[], axis: number) => one(opType, inputs, { axis }),
    mean: (x: string) => one('ReduceMean', [x, to.ints([node.inputs[0]!.shape.length - 1])], { keepdims: 1 }),
    end: (opType: 'ReduceMin' | 'ReduceMax', x: string) => one(opType, [x], { keepdims: 0 }),
    cast: (x: string, type: number) => one('Cast', [x], { to: type }),
  };
}

/** Bytes [...shape] as float64 [...shape, 2], the low half of each before the high one. */
function nibbles(to: Emitter, bytes: string, shape: readonly number[]): string {
  const [low, high, both, numbers] = [to.fresh(), to.fresh(), to.fresh(), to.fresh()];
  const column = (part: string): string => {
    const name = to.fresh();
    to.node('Reshape', [part, to.ints([...shape, 1])], [name]);
    return name;
  };
  to.node('BitwiseAnd', [bytes, to.bytes(15)], [low]);
  to.node('BitShift', [bytes, to.bytes(4)], [high], { direction: 'RIGHT' });
  to.node('Concat', [column(low), column(high)], [both], { axis: shape.length });
  to.node('Cast', [both], [numbers], { to: DOUBLE });
  return numbers;
}

/** A 4-bit weight [to, from] in float64. */
function unpacked(to: Emitter, node: Node, [bits, scale, zero]: readonly [string, string, string]): string {
  const [outputs, blocks, bytes] = node.inputs[1]!.shape as [number, number, number];
  const { apply, shaped } = plainly(to, node);
  const column = (x: string): string => shaped(x, [outputs * blocks, 1]);
  const steps = shaped(nibbles(to, bits, [outputs, blocks, bytes]), [outputs * blocks, 2 * bytes]);
  const numbers = apply('Mul', apply('Sub', steps, column(zero)), column(scale));
  const whole = shaped(numbers, [outputs, blocks * 2 * bytes]);
  return apply('Slice', whole, to.ints([0]), to.ints([node.attrs['from'] as number]), to.ints([1]));
}

/** @param outputs values by the name under which they leave the graph */
export async function inDouble(outputs: ReadonlyMap<string, Value>): Promise<DoubleProgram> {
  const { nodes, constants, inputs } = write(outputs, {
    // What is written for it are operators of ONNX itself, mostly.
    device: 'webgpu',
    instead: (to, node) => {
      const meaning = MEANING[node.op.name];
      meaning?.(to, node);
      return meaning !== undefined;
    },
  });
  const info = ([name, { dtype, shape }]: readonly [string, TensorType]): ValueInfoProto => {
    const made = valueInfo(name, dtype, shape);
    const type = made.type!.tensorType!;
    if (type.elemType === FLOAT) type.elemType = DOUBLE;
    return made;
  };
  const bytes = modelBytes({
    name: 'double',
    nodes: nodes.map(doubled),
    constants: constants.map(doubledConstant),
    inputs: [...inputs].map(info),
    outputs: [...outputs].map(info),
  });
  const session = await InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    // The runtime would fuse some operators into ones that it has in float32 alone.
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  return { session, inputs };
}

/** What an op turns into float32 is float64 here. */
function doubled(node: NodeProto): NodeProto {
  if (node.opType === 'Cast') for (const each of node.attribute) if (each.i === BigInt(FLOAT)) each.i = BigInt(DOUBLE);
  return node;
}

function doubledConstant(given: TensorProto): TensorProto {
  if (given.dataType !== FLOAT) return given;
  const numbers = Float64Array.from(new Float32Array(given.rawData.slice().buffer));
  const made = tensorProto(given.name, given.dims.map(Number), new Uint8Array(numbers.buffer));
  made.dataType = DOUBLE;
  return made;
}

/** @param feeds numbers in float64, or tensors, of which those in float32 become float64 */
export async function runDouble(
  { session, inputs }: DoubleProgram,
  feeds: Readonly<Record<string, Float64Array | Tensor>>,
): Promise<Record<string, Float64Array | Uint8Array>> {
  const fed = Object.fromEntries(
    [...inputs].map(([name, { shape }]) => {
      const given = feeds[name]!;
      if (given instanceof Float64Array) return [name, new Tensor('float64', given, shape)];
      if (given.type !== 'float32') return [name, given];
      return [name, new Tensor('float64', Float64Array.from(given.data as Float32Array), shape)];
    }),
  );
  const results = await session.run(fed);
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data as Float64Array]));
}
