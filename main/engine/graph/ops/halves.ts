/**
 * @file How a product with a frozen weight in float16 is written: pieces of its rows are widened, each beside its product,
 * which is one of float32, sums included.
 *
 * Of what an op needs the runtime computes first what was written last. So what is widened is written before all else, and
 * a and c get other names after it: else all weights of a program would stand there widened before the first is multiplied.
 */
import { elementType } from '../../../formats/onnx/build.ts';
import { ends, step, turned, type Device, type Emitter } from '../op.ts';
import type { Attrs, Node, Value } from '../value.ts';

/**
 * Bytes of float32 that are widened at a time: a large weight would otherwise stand there whole, wider than it is kept. A
 * CPU multiplies with them while they are in its cache (measured: docs/decisions/engine-speed.md); a graphics processor
 * takes as long to begin a small thing as a large one.
 */
const WIDENED: Readonly<Record<Device, number>> = { cpu: 2 ** 23, webgpu: 2 ** 26 };

export const isHalf = (v: Value): boolean => v.dtype === 'float16';

interface Product extends Attrs {
  readonly transB: number;
  readonly alpha: number;
}

/** Rows of a weight that are widened at a time. */
const rowsAtOnce = ({ shape: [rows, columns] }: Value, device: Device): number =>
  Math.min(rows!, Math.max(1, Math.floor(WIDENED[device] / (Float32Array.BYTES_PER_ELEMENT * columns!))));

/** The rows of each piece: from, and to. */
function piecesOf(weight: Value, device: Device): (readonly [from: number, to: number])[] {
  const [total, size] = [weight.shape[0]!, rowsAtOnce(weight, device)];
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => [i * size, Math.min(total, (i + 1) * size)]);
}

const slice = (to: Emitter, name: string, [from, end]: readonly [number, number], axis: number): string =>
  step(to, 'Slice', [name, to.ints([from]), to.ints([end]), to.ints([axis])]);
const again = (to: Emitter, name: string, { shape }: Value): string => step(to, 'Reshape', [name, to.ints(shape)]);

/** alpha a op(b) + c of float16 b. */
export function halfGemm(to: Emitter, node: Node<Product>): void {
  const [[a, b, c], [y]] = ends(to, node);
  const [left, right, added] = node.inputs as [Value, Value, Value?];
  const forward = node.attrs.transB === 1;
  const pieces = piecesOf(right, to.device);
  const whole = pieces.length === 1;
  const turn = to.device === 'webgpu' && forward;
  // On the way back by another name, or counted from the other end: widened once for both ways, it would be held between.
  const cut = (piece: readonly [number, number]): string =>
    whole ? (forward ? b! : again(to, b!, right)) : slice(to, b!, piece, forward ? 0 : -2);
  const exact = pieces.map((piece) => {
    const rows = cut(piece);
    return step(to, 'Cast', [turn ? turned(to, rows, 2) : rows], { to: elementType('float32') });
  });
  const given = again(to, a!, left);
  const start = added && again(to, c!, added);
  const attributes = { transB: forward && !turn ? 1 : 0, alpha: { float: node.attrs.alpha } };
  const product = (x: string, weight: string, plus: string | undefined, into: string): string => {
    to.node('Gemm', plus === undefined ? [x, weight] : [x, weight, plus], [into], attributes);
    return into;
  };
  if (whole) product(given, exact[0]!, start, y!);
  else if (forward) {
    // Each piece gives columns of its own.
    const columns = exact.map((weight) => product(given, weight, undefined, to.fresh()));
    if (start === undefined) return to.node('Concat', columns, [y!], { axis: 1 });
    to.node('Add', [step(to, 'Concat', columns, { axis: 1 }), start], [y!]);
  } else {
    // Each piece adds what columns of a make of it.
    let sum = start;
    for (const [i, piece] of pieces.entries()) {
      const columns = slice(to, given, piece, 1);
      sum = product(columns, exact[i]!, sum, i + 1 < pieces.length ? to.fresh() : y!);
    }
  }
}

/** Bytes that it holds between its ops: rows widened, as they were cut out and turned, and beside pieces those of a result or of a. */
export function halfGemmBytes({ inputs: [a, b], attrs: { transB } }: Node<Product>, device: Device): number {
  const [total, columns] = b!.shape as [number, number];
  const size = rowsAtOnce(b!, device);
  const [cut, turn] = [size < total, device === 'webgpu' && transB === 1];
  return size * columns * (4 + (cut ? 2 : 0) + (turn ? 2 : 0)) + (cut ? 4 * a!.shape[0]! * total : 0);
}
