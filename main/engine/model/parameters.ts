/** @file An adapter's parameters: one flat buffer with the views that PEFT names, and those that the segments take. */
import type { Tensor } from 'onnxruntime-node';
import { FettleError } from '../../contract/errors.ts';
import type { WeightSource } from '../../formats/model.ts';
import { PEFT_PREFIX } from '../../formats/peft.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { sameShape } from '../graph/value.ts';
import { tensorNames, type AdapterShape } from '../layers/block.ts';
import { Random } from '../random.ts';
import { tensor } from '../segments/session.ts';
import type { ParameterSet } from '../types.ts';

type Entry = ParameterSet['entries'][number];

/** Where a segment's trained input lies in the flat buffer: one entry, or several in a row. */
interface View {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
}

export interface AdapterParameters extends ParameterSet {
  /** A layer's trained inputs. */
  readonly views: readonly (readonly View[])[];
}

/** Matrices A [rank, in] and B [out, rank] for every target of every layer; in a projection first all A, then all B. */
export function adapterParameters(spec: ModelSpec, adapter: AdapterShape): AdapterParameters {
  const entries: Entry[] = [];
  let offset = 0;
  const entry = (name: string, shape: readonly number[]): number => {
    const at = offset;
    entries.push({ name, shape, offset, size: shape[0]! * shape[1]! });
    offset += shape[0]! * shape[1]!;
    return at;
  };
  const views = Array.from({ length: spec.layers }, (_, layer) =>
    spec.projections.flatMap((p): View[] => {
      const adapted = p.parts.filter((part) => adapter.targets.has(part.module));
      if (adapted.length === 0) return [];
      const prefix = spec.layer(layer);
      const starts = adapted.map((part) => entry(`${prefix}${part.path}.lora_A.weight`, [adapter.rank, p.from]));
      const a = { name: tensorNames.a(p), shape: [adapted.length * adapter.rank, p.from], offset: starts[0]! };
      const b = adapted.map((part) => {
        const shape = [part.to, adapter.rank];
        return {
          name: tensorNames.b(p, part.module),
          shape,
          offset: entry(`${prefix}${part.path}.lora_B.weight`, shape),
        };
      });
      return [a, ...b];
    }),
  );
  return { entries, views, values: new Float32Array(offset), gradients: new Float32Array(offset) };
}

/** A uniform in +-1/sqrt(in) (PEFT's kaiming_uniform with a = sqrt(5)), B zero, so that the adapter begins as nothing. */
export function initialise(parameters: ParameterSet, seed: number): void {
  const random = new Random(seed);
  for (const { name, shape, offset, size } of parameters.entries) {
    const values = parameters.values.subarray(offset, offset + size);
    if (!name.endsWith('.lora_A.weight')) values.fill(0);
    else {
      const bound = 1 / Math.sqrt(shape[1]!);
      for (let i = 0; i < size; i++) values[i] = (2 * random.next() - 1) * bound;
    }
  }
}

/** Tensors over the flat buffers: what a layer's forward pass reads, and where its gradients are (`g.`) and go (`d.`). */
export function adapterTensors(
  parameters: AdapterParameters,
): { values: Record<string, Tensor>; gradients: Record<string, Tensor> }[] {
  return parameters.views.map((views) => {
    const values: Record<string, Tensor> = {};
    const gradients: Record<string, Tensor> = {};
    for (const { name, shape, offset } of views) {
      const end = offset + shape[0]! * shape[1]!;
      values[name] = tensor(parameters.values.subarray(offset, end), shape);
      gradients[`g.${name}`] = gradients[`d.${name}`] = tensor(parameters.gradients.subarray(offset, end), shape);
    }
    return { values, gradients };
  });
}

/** The values of one parameter, as a view. Throws MODEL_INCOMPLETE. */
export function parameter(parameters: ParameterSet, name: string): Float32Array {
  const found = parameters.entries.find((e) => e.name === name);
  if (!found) throw new FettleError('MODEL_INCOMPLETE', `The adapter has no parameter ${name}.`);
  return parameters.values.subarray(found.offset, found.offset + found.size);
}

/**
 * Fills every parameter from a source of the same names, with or without PEFT's `base_model.model.` before them.
 * Throws MODEL_INCOMPLETE where one is missing, of another shape, or left over; nothing is changed then.
 */
export async function readParameters(parameters: ParameterSet, source: WeightSource): Promise<void> {
  const plain = (name: string): string => (name.startsWith(PEFT_PREFIX) ? name.slice(PEFT_PREFIX.length) : name);
  const names = new Map(source.names.map((name) => [plain(name), name]));
  const wrong = (what: string): never => {
    throw new FettleError(
      'MODEL_INCOMPLETE',
      `The adapter does not fit: ${what}.`,
      'Use an adapter of the same base model, rank and target modules.',
    );
  };
  for (const { name, shape } of parameters.entries) {
    const from = names.get(name);
    if (from === undefined) wrong(`${name} is missing`);
    const found = source.info(from!).shape;
    if (!sameShape(found, shape)) wrong(`${name} is [${found.join(', ')}] in place of [${shape.join(', ')}]`);
    names.delete(name);
  }
  for (const name of names.keys()) wrong(`${name} belongs to no target module`);
  const read = new Map(source.names.map((name) => [plain(name), name]));
  for (const { name, offset } of parameters.entries) parameters.values.set(await source.read(read.get(name)!), offset);
}
