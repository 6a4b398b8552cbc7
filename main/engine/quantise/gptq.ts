/**
 * @file Rounds weights to 4 bits so that their products with what was seen of their inputs change least: inputs are rounded
 * one after the other, and those that come later make up for the error (GPTQ, Frantar et al. 2022).
 */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import { discard } from '../../formats/discard.ts';
import { fit, LARGEST_STEP, range, type Steps } from '../../formats/steps.ts';
import { emit } from '../graph/emit.ts';
import { gemm } from '../graph/ops/index.ts';
import { FREE, Scope } from '../graph/value.ts';
import type { LinearWeight } from '../model/weights.ts';
import { numbers, Session, tensor, zeros, type Tensors } from '../segments/session.ts';
import { BLOCK, Int4 } from './int4.ts';

/**
 * Inputs that make up for each other, at most. All of a matrix at once would take the cube of its width in time, and gain
 * little (docs/decisions/engine-speed.md).
 */
const GROUP = 384;
/** Of the mean of the inputs' squares, added to each one's: some 2,000 tokens say less of how inputs go together than of each. */
const DAMPING = 0.03;
/** Ranges tried for each block, as shares of the one from its smallest to its largest number. */
const RANGES = [1, 0.85];

/** How the inputs of a matrix are grouped: evenly, in whole blocks. */
export function groupSizes(from: number): number[] {
  const blocks = Math.ceil(from / BLOCK);
  const each = BLOCK * Math.ceil(blocks / Math.ceil(from / GROUP));
  return Array.from({ length: Math.ceil(from / each) }, (_, i) => Math.min(each, from - i * each));
}

/** Of a group of inputs x [size]: the sums of x x' over what was seen, [size, size]. */
export type Moments = Float64Array;

/** Of the groups of `from` inputs of which nothing was seen: each then is as good as another, and makes up for none. */
export const noMoments = (from: number): Moments[] => groupSizes(from).map((size) => new Float64Array(size * size));

/** What a group's inputs give on to those that are rounded after them. */
interface Feedback {
  readonly size: number;
  /** Sums of each input's squares, damped: [size]. */
  readonly squares: Float64Array;
  /** Unit upper triangular [size, size]: what an error of the input of a row moves the later ones by. */
  readonly pushes: Float64Array;
}

/**
 * The V of inverse(H) = V' D V, unit upper triangular: of the Cholesky factor that Frantar et al. 2022 use, each row by its
 * diagonal. It is the inverse of the U of H = U D U', which is found from the last row to the first.
 * @param moments H, before damping. Throws MODEL_INCOMPLETE where they are no numbers.
 */
export function feedback(moments: Moments): Feedback {
  const size = Math.sqrt(moments.length);
  const left = moments.slice();
  const mean = left.reduce((sum, x, i) => (i % (size + 1) === 0 ? sum + x : sum), 0) / size;
  if (!Number.isFinite(mean)) throw noNumbers();
  // Inputs that are always zero are rounded as they are.
  for (let i = 0; i < size; i++) left[i * size + i]! += DAMPING * mean || 1;
  const squares = Float64Array.from({ length: size }, (_, i) => left[i * size + i]!);
  const pushes = new Float64Array(size * size);
  for (let k = size - 1; k >= 0; k--) {
    // Of what is left, symmetric, the lower half: its last row is the last column of U, by its diagonal.
    const row = left.subarray(k * size, k * size + k + 1);
    const column = row.map((x) => x / row[k]!);
    for (let i = 0; i < k; i++) {
      const factor = row[i]!;
      for (let j = 0, at = i * size; j <= i; j++, at++) left[at]! -= factor * column[j]!;
      pushes[i * size + k] = column[i]!;
    }
    pushes[k * size + k] = 1;
  }
  // In its place the inverse, whose rows hang on those below.
  for (let i = size - 1; i >= 0; i--) {
    const row = pushes.slice(i * size, (i + 1) * size);
    pushes.fill(0, i * size + i + 1, (i + 1) * size);
    for (let m = i + 1; m < size; m++) {
      const factor = row[m]!;
      for (let j = m; j < size; j++) pushes[i * size + j]! -= factor * pushes[m * size + j]!;
    }
  }
  discard(left);
  return { size, squares, pushes };
}

/** What goes through the model is no longer numbers. */
export const noNumbers = (): FettleError =>
  new FettleError(
    'MODEL_INCOMPLETE',
    'The model gives no numbers for the first examples: its files hold values that are none.',
    'Get the files again: they may be damaged. Another tool that reads them will say the same.',
  );

/** Rounds the weights of a model, of which many are of one shape. */
export class Gptq {
  readonly #threads: number;
  /** By outputs: what the errors before a block add to it. */
  readonly #pushed = new Map<number, Promise<Session>>();

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** @param weights [to, from] that share an input. @param moments of its groups. */
  async round(weights: readonly LinearWeight[], moments: readonly Moments[]): Promise<Tensors> {
    const groups = moments.map(feedback);
    const all: Record<string, Tensor> = {};
    for (const { name, tensor: weight } of weights) {
      const [to, from] = weight.dims as [number, number];
      const rounded = new Int4(to, from);
      const pushed = zeros([BLOCK, lineWidth(to)]);
      let start = 0;
      for (const group of groups) {
        await this.#roundGroup(numbers(weight), rounded, pushed, [to, from], start, group);
        start += group.size;
      }
      discard(numbers(pushed));
      Object.assign(all, rounded.tensors(name));
    }
    for (const { pushes } of groups) discard(pushes);
    return all;
  }

  async release(): Promise<void> {
    for (const session of this.#pushed.values()) await (await session).release();
    this.#pushed.clear();
  }

  /** @param pushed room for what the errors before a block add to it. @param start of the group among the inputs. */
  async #roundGroup(
    weight: Float32Array,
    rounded: Int4,
    pushed: Tensor,
    [to, from]: readonly [number, number],
    start: number,
    { size, squares, pushes }: Feedback,
  ): Promise<void> {
    const width = lineWidth(to);
    numbers(pushed).fill(0);
    const errors = new Float32Array(size * width);
    for (let first = 0; first < size; first += BLOCK) {
      const count = Math.min(BLOCK, size - first);
      if (first > 0) {
        const panel = new Float32Array(first * BLOCK);
        for (let j = 0; j < first; j++)
          for (let i = 0; i < count; i++) panel[j * BLOCK + i] = -pushes[j * size + first + i]!;
        const before = {
          panel: tensor(panel, [first, BLOCK]),
          errors: tensor(errors.subarray(0, first * width), [first, width]),
        };
        await (await this.#pushes(width)).run([before], { pushed });
      }
      const block = new BlockRounder(squares.subarray(first, first + count));
      for (let i = 0; i < count; i++)
        for (let j = i + 1; j < count; j++) block.pushes[i * BLOCK + j] = pushes[(first + i) * size + first + j]!;
      const added = numbers(pushed);
      for (let o = 0; o < to; o++) {
        const at = o * from + start + first;
        for (let i = 0; i < count; i++) block.moved[i] = weight[at + i]! + added[i * width + o]!;
        rounded.put(o, (start + first) / BLOCK, block.round(), block.values);
        for (let i = 0; i < count; i++) errors[(first + i) * width + o] = block.errors[i]!;
      }
    }
    discard(errors);
  }

  /** `pushed` [BLOCK, to] of the `errors` [n, to] of the inputs before, by their `panel` [n, BLOCK]. */
  #pushes(to: number): Promise<Session> {
    let session = this.#pushed.get(to);
    if (!session) {
      const scope = new Scope();
      const product = gemm(scope.input('panel', [FREE, BLOCK]), scope.input('errors', [FREE, to]), { transA: true });
      const program = emit(new Map([['pushed', product]]), 'cpu');
      this.#pushed.set(to, (session = Session.create(program, { device: 'cpu', threads: this.#threads })));
    }
    return session;
  }
}

/** Of rows that are gone through across: an odd number of cache lines, or they would all fall on a few places of the cache. */
const lineWidth = (outputs: number): number => 16 * (Math.ceil(outputs / 16) | 1);

/** A block of inputs that is rounded for one output after the other: numbers are written into it, and read from it. */
class BlockRounder {
  /** Weights as the errors of the inputs before want them. */
  readonly moved: Float64Array;
  /** Of what was so moved, less what it was rounded to. */
  readonly errors: Float64Array;
  readonly values = new Uint8Array(BLOCK);
  /** Of the block alone, [BLOCK, BLOCK]. */
  readonly pushes = new Float64Array(BLOCK * BLOCK);
  readonly #squares: Float64Array;
  readonly #tried = new Uint8Array(BLOCK);

  constructor(squares: Float64Array) {
    this.#squares = squares;
    this.moved = new Float64Array(squares.length);
    this.errors = new Float64Array(squares.length);
  }

  round(): Steps {
    const { moved, errors, values, pushes } = this;
    const { scale, zero } = this.#steps();
    const count = moved.length;
    const steps = 1 / scale;
    values.fill(zero);
    for (let i = 0; i < count; i++) {
      const place = moved[i]! * steps + zero + 0.5;
      const value = place < 0 ? 0 : place > LARGEST_STEP ? LARGEST_STEP : place | 0;
      values[i] = value;
      const error = moved[i]! - (value - zero) * scale;
      errors[i] = error;
      for (let j = i + 1; j < count; j++) moved[j]! -= error * pushes[i * BLOCK + j]!;
    }
    return { scale, zero };
  }

  /** Those with the least squared error, each weighed by how large its input was seen to be. */
  #steps(): Steps {
    const [low, high] = range(this.moved);
    const span = high - low;
    if (span === 0) return { scale: 1, zero: 0 };
    let [scale, zero, error] = [0, 0, Infinity];
    const ideal = (-LARGEST_STEP * low) / span;
    for (let shift = Math.floor(ideal); shift <= Math.ceil(ideal); shift++)
      for (const share of RANGES) {
        const found = fit(this.moved, this.#squares, (span * share) / LARGEST_STEP, shift, this.#tried);
        if (found.error < error && found.scale > 0) [scale, zero, error] = [found.scale, shift, found.error];
      }
    return { scale: Math.fround(scale) || 1, zero };
  }
}
