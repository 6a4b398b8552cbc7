/** @file Whether an adapter that was made elsewhere fits a model, and its tensors as the engine wants them. */
import { FettleError } from '../../contract/errors.ts';
import type { TensorToWrite } from '../../formats/safetensors.ts';
import type { Tuned } from '../../formats/tuned.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import { sameShape, sizeOf } from '../graph/value.ts';
import { MAGNITUDE } from './parameters.ts';

type FittedTensor = TensorToWrite & { readonly data: () => Promise<Float32Array> };
export interface Fitted {
  readonly targetModules: readonly string[];
  /** By the base model's names, for every layer; matrices that the adapter leaves out are zero, which adds nothing. */
  readonly tensors: readonly FittedTensor[];
}

/**
 * @param tied a head and an embedding that are one weight were trained as one.
 * @throws MODEL_UNSUPPORTED where it is on other parts or of other sizes than the model has, MODEL_INCOMPLETE where something is missing.
 */
export function fitAdapter(
  spec: ModelSpec,
  { lora, weights }: { readonly lora: NonNullable<Tuned['lora']>; readonly weights: Tuned['weights'] },
  tied: boolean,
): Fitted {
  const { rank, useDora = false, modulesToSave = [] } = lora;
  const held = new Set(weights.names);
  const refused = (what: string): FettleError =>
    new FettleError(
      'MODEL_UNSUPPORTED',
      `The adapter does not fit this model: ${what}.`,
      'Choose the base model that it was made for.',
    );
  const taken = (from: string, shape: readonly number[], name = from): FittedTensor => {
    held.delete(from);
    const found = weights.info(from).shape;
    if (!sameShape(found, shape))
      throw refused(`${from} is [${found.join(', ')}], and [${shape.join(', ')}] is needed`);
    return { name, shape, data: () => weights.read(from) };
  };
  const zeros = (name: string, shape: readonly number[]): FittedTensor => ({
    name,
    shape,
    data: () => Promise.resolve(new Float32Array(sizeOf(shape))),
  });
  const parts = spec.projections.flatMap((p) => p.parts.map((part) => ({ ...part, from: p.from })));
  const on = parts.filter(({ path }) => weights.names.some((name) => name.includes(`.${path}.lora_`)));
  const tensors: FittedTensor[] = [];
  for (let layer = 0; layer < spec.layers; layer++)
    for (const { path, from, to } of on) {
      const stem = `${spec.layer(layer)}${path}`;
      const wanted: [string, number[]][] = [
        [`${stem}.lora_A.weight`, [rank, from]],
        [`${stem}.lora_B.weight`, [to, rank]],
        ...(useDora ? [[`${stem}.${MAGNITUDE}`, [to]] as [string, number[]]] : []),
      ];
      const missing = wanted.filter(([name]) => !held.has(name));
      if (missing.length === 0) for (const [name, shape] of wanted) tensors.push(taken(name, shape));
      else if (missing.length < wanted.length)
        throw new FettleError('MODEL_INCOMPLETE', `The adapter has no ${missing[0]![0]}.`, 'Get the complete file.');
      else if (useDora) throw refused(`it is weight-decomposed (DoRA), and leaves ${stem} out`);
      else for (const [name, shape] of wanted) tensors.push(zeros(name, shape));
    }
  tensors.push(...savedOf(spec, modulesToSave, { held, tied, taken, refused }));
  const [stray] = held;
  if (stray !== undefined)
    throw refused(`${stray} belongs to no part that Fettle tunes (${parts.map(({ module }) => module).join(', ')})`);
  return { targetModules: on.map(({ module }) => module), tensors };
}

/** Embedding and head that were trained in whole. */
function savedOf(
  spec: ModelSpec,
  modules: readonly string[],
  {
    held,
    tied,
    taken,
    refused,
  }: {
    readonly held: ReadonlySet<string>;
    readonly tied: boolean;
    readonly taken: (from: string, shape: readonly number[], name?: string) => FittedTensor;
    readonly refused: (what: string) => FettleError;
  },
): FittedTensor[] {
  if (modules.length === 0) return [];
  const { names, vocab, hidden } = spec;
  const found = [names.embedding, 'lm_head.weight'].filter((name) => held.has(name));
  if (!isTied(spec)) return found.map((name) => taken(name, [vocab, hidden]));
  // One weight in the base: trained apart, the two are no longer one.
  if (!tied) throw refused(`it trained ${modules.join(', ')} apart from the embedding, which is the same weight here`);
  const [first, copy] = found;
  if (first === undefined)
    throw new FettleError('MODEL_INCOMPLETE', `The adapter has no ${names.embedding}.`, 'Get the complete file.');
  if (copy !== undefined) taken(copy, [vocab, hidden]);
  return [taken(first, [vocab, hidden], names.embedding)];
}
