/** @file What is trained: one flat buffer with the views that files name, and those that the segments take. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { WeightSource } from '../../formats/model.ts';
import { PEFT_PREFIX } from '../../formats/peft.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import { sameShape, sizeOf } from '../graph/value.ts';
import { tensorNames, type AdapterShape, type TrainedShape } from '../layers/block.ts';
import { Random } from '../random.ts';
import { sharedFloats } from '../segments/mapped.ts';
import { tensor, type Places, type Tensors } from '../segments/session.ts';
import type { ParameterSet } from '../types.ts';
import { turned, wantedBy, type Wanted } from './weights.ts';

type Entry = ParameterSet['entries'][number];

/** Where a segment's trained input lies in the flat buffer: one entry, or several in a row. */
export interface View {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
}

export interface TrainedParameters extends ParameterSet {
  /** A layer's trained inputs. */
  readonly layers: readonly (readonly View[])[];
  /** Of the weights before and after the blocks those that are trained themselves. A tied head is the embedding. */
  readonly outer: readonly View[];
}

/** What a forward pass reads of what is trained, and where gradients are (`g.`) and go (`d.`). */
export interface TrainedTensors {
  readonly values: Tensors;
  readonly gradients: Places;
  /** Told of a segment's results: new gradients among them, where they have no place of their own. */
  took(made: Tensors): void;
}

/**
 * With adapters the matrices A [rank, in] and B [out, rank] for every target of every layer, in a projection first all A,
 * then all B, then DoRA's magnitudes. With `whole` all the model's own weights.
 * @param saved input names of weights before and after the blocks that are trained in whole beside an adapter
 * @param memory of another thread, where it is not to be made
 */
export function trainedParameters(
  spec: ModelSpec,
  shape: TrainedShape,
  saved: ReadonlySet<string>,
  memory?: { readonly values: Float32Array; readonly gradients: Float32Array | undefined },
): TrainedParameters {
  const entries: Entry[] = [];
  let offset = 0;
  const entry = (name: string, shape: readonly number[], transposed = false): number => {
    const at = offset;
    entries.push({ name, shape, offset, size: sizeOf(shape), transposed });
    offset += sizeOf(shape);
    return at;
  };
  // In memory linear layers are [out, in], however the files keep them.
  const whole = ({ name, shape, from, transposed = false }: Wanted): View => ({
    name,
    shape,
    offset: entry(from.name, shape, transposed),
  });
  const wanted = wantedBy(spec);
  const layers = wanted.layers.map((weights, layer) =>
    shape.kind === 'whole' ? weights.map(whole) : adapterViews(spec, shape, spec.layer(layer), entry),
  );
  const outer: View[] = [];
  for (const each of [...wanted.embedding, ...wanted.final, wanted.head]) {
    if (shape.kind === 'adapter' && !saved.has(each.name)) continue;
    const tied = each === wanted.head && isTied(spec);
    const table = tied ? outer.find(({ name }) => name === 'embedding') : undefined;
    outer.push(table ? { ...table, name: each.name } : whole(each));
  }
  let [values, gradients] = [memory?.values, memory?.gradients];
  return {
    entries,
    layers,
    outer,
    whole: shape.kind === 'whole',
    // Made when they are first asked for: who only counts needs neither, a model that only answers no gradients.
    get values() {
      return (values ??= sharedFloats(offset));
    },
    get gradients() {
      return (gradients ??= new Float32Array(offset));
    },
  };
}

function adapterViews(
  spec: ModelSpec,
  adapter: AdapterShape,
  prefix: string,
  entry: (name: string, shape: readonly number[]) => number,
): View[] {
  return spec.projections.flatMap((p): View[] => {
    const adapted = p.parts.filter((part) => adapter.targets.has(part.module));
    if (adapted.length === 0) return [];
    const starts = adapted.map((part) => entry(`${prefix}${part.path}.lora_A.weight`, [adapter.rank, p.from]));
    const a = { name: tensorNames.a(p), shape: [adapted.length * adapter.rank, p.from], offset: starts[0]! };
    const b = adapted.map((part) => {
      const shape = [part.to, adapter.rank];
      const offset = entry(`${prefix}${part.path}.lora_B.weight`, shape);
      return { name: tensorNames.b(p, part.module), shape, offset };
    });
    const magnitudes = (adapter.dora ? adapted : []).map((part) => {
      const offset = entry(`${prefix}${part.path}.${MAGNITUDE}`, [part.to]);
      return { name: tensorNames.magnitude(p, part.module), shape: [part.to], offset };
    });
    return [a, ...b, ...magnitudes];
  });
}

/** As PEFT names a DoRA adapter's lengths in a file. */
export const MAGNITUDE = 'lora_magnitude_vector';

/**
 * @param base the base's weights by their names, asked for only where they are needed.
 *
 * A uniform in +-1/sqrt(in) (PEFT's kaiming_uniform with a = sqrt(5)), B zero, so that the adapter begins as nothing;
 * magnitudes are the lengths of the base's rows; weights that are trained themselves begin as they are.
 */
export function initialise(
  parameters: ParameterSet,
  base: () => ReadonlyMap<string, Float32Array>,
  seed: number,
): void {
  const random = new Random(seed);
  let known: ReadonlyMap<string, Float32Array> | undefined;
  const weight = (name: string): Float32Array => (known ??= base()).get(name)!;
  for (const { name, shape, offset, size } of parameters.entries) {
    const values = parameters.values.subarray(offset, offset + size);
    if (name.endsWith('.lora_A.weight')) {
      const bound = 1 / Math.sqrt(shape[1]!);
      for (let i = 0; i < size; i++) values[i] = (2 * random.next() - 1) * bound;
    } else if (name.endsWith('.lora_B.weight')) values.fill(0);
    else if (name.endsWith(`.${MAGNITUDE}`)) rowLengths(weight(name.replace(MAGNITUDE, 'weight')), values);
    else values.set(weight(name));
  }
}

/** L2 norm of each row of a matrix of as many rows as `lengths` has. */
function rowLengths(matrix: Float32Array, lengths: Float32Array): void {
  const width = matrix.length / lengths.length;
  for (let row = 0; row < lengths.length; row++) {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) sum += matrix[i]! * matrix[i]!;
    lengths[row] = Math.sqrt(sum);
  }
}

/** Tensors over the flat buffers. */
export function trainedTensors(parameters: TrainedParameters): {
  readonly layers: readonly TrainedTensors[];
  readonly outer: TrainedTensors;
} {
  const over = (list: readonly View[]): TrainedTensors => {
    const cut = (flat: Float32Array, { shape, offset }: View): Tensor =>
      tensor(flat.subarray(offset, offset + sizeOf(shape)), shape);
    let gradients: Tensors | undefined;
    return {
      values: Object.fromEntries(list.map((view) => [view.name, cut(parameters.values, view)])),
      get gradients() {
        return (gradients ??= Object.fromEntries(
          list.flatMap((view) => {
            const own = cut(parameters.gradients, view);
            return [
              [`g.${view.name}`, own],
              [`d.${view.name}`, own],
            ];
          }),
        ));
      },
      took: () => undefined,
    };
  };
  return { layers: parameters.layers.map(over), outer: over(parameters.outer) };
}

/** The values of one parameter, as a view. Throws MODEL_INCOMPLETE. */
export function parameter(parameters: ParameterSet, name: string): Float32Array {
  const found = parameters.entries.find((e) => e.name === name);
  if (!found) throw new FettleError('MODEL_INCOMPLETE', `The adapter has no parameter ${name}.`);
  return parameters.values.subarray(found.offset, found.offset + found.size);
}

/**
 * Fills every parameter from a source of the same names, with or without PEFT's `base_model.model.` before them.
 * @param copies names of what may stand in the source besides, as another copy of a parameter.
 * Throws MODEL_INCOMPLETE where one is missing, of another shape, or left over; nothing is changed then.
 */
export async function readParameters(
  parameters: ParameterSet,
  source: WeightSource,
  copies: readonly string[] = [],
): Promise<void> {
  const plain = (name: string): string => (name.startsWith(PEFT_PREFIX) ? name.slice(PEFT_PREFIX.length) : name);
  const names = new Map(source.names.map((name) => [plain(name), name]));
  const left = new Set(names.keys());
  const wrong = (what: string): never => {
    throw new FettleError(
      'MODEL_INCOMPLETE',
      `The adapter does not fit: ${what}.`,
      'Use an adapter of the same base model, rank and target modules.',
    );
  };
  for (const entry of parameters.entries) {
    const { name } = entry;
    const from = names.get(name);
    if (from === undefined) wrong(`${name} is missing`);
    const found = source.info(from!).shape;
    const wanted = shapeInFile(entry);
    if (!sameShape(found, wanted)) wrong(`${name} is [${found.join(', ')}] in place of [${wanted.join(', ')}]`);
    left.delete(name);
  }
  for (const name of copies) left.delete(name);
  for (const name of left) wrong(`${name} belongs to no target module`);
  for (const entry of parameters.entries)
    parameters.values.set(fromFile(entry, await source.read(names.get(entry.name)!)), entry.offset);
}

/** A parameter's shape as files keep it. */
export const shapeInFile = ({ shape, transposed = false }: Entry): readonly number[] =>
  transposed ? shape.toReversed() : shape;
/** Its numbers as files keep them. */
export const inFile = ({ shape, transposed = false }: Entry, values: Float32Array): Float32Array =>
  transposed ? turned(values, shape[0]!) : values;
/** The other way round. */
export const fromFile = ({ shape, transposed = false }: Entry, stored: Float32Array): Float32Array =>
  transposed ? turned(stored, shape[1]!) : stored;
