/** @file Whether an adapter that was made elsewhere fits a model, and its matrices as the engine wants them. */
import { FettleError } from '../../contract/errors.ts';
import { PEFT_PREFIX, type Adapter } from '../../formats/peft.ts';
import type { TensorToWrite } from '../../formats/safetensors.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { sameShape } from '../graph/value.ts';

export interface Fitted {
  readonly targetModules: readonly string[];
  /** By the base model's names, for every layer; those that the adapter leaves alone are zero, which adds nothing. */
  readonly tensors: readonly TensorToWrite[];
}

/** @throws MODEL_UNSUPPORTED where it is on other parts or of other sizes than the model has, MODEL_INCOMPLETE where one half is missing. */
export function fitAdapter(spec: ModelSpec, { lora, weights }: Pick<Adapter, 'lora' | 'weights'>): Fitted {
  const { rank } = lora;
  const held = new Set(weights.names);
  const refused = (what: string): FettleError =>
    new FettleError(
      'MODEL_UNSUPPORTED',
      `The adapter does not fit this model: ${what}.`,
      'Choose the base model that it was made for.',
    );
  /** Zeros where it is not there. */
  const matrix = (name: string, shape: readonly [number, number]): TensorToWrite => {
    const own = PEFT_PREFIX + name;
    if (!held.delete(own)) return { name, shape, data: () => Promise.resolve(new Float32Array(shape[0] * shape[1])) };
    const found = weights.info(own).shape;
    if (!sameShape(found, shape))
      throw refused(`${name} is [${found.join(', ')}], and [${shape.join(', ')}] is needed`);
    return { name, shape, data: () => weights.read(own) };
  };
  const parts = spec.projections.flatMap(({ from, parts }) => parts.map((part) => ({ ...part, from })));
  const on = parts.filter(({ path }) =>
    weights.names.some((name) => name.endsWith(`.${path}.lora_A.weight`) || name.endsWith(`.${path}.lora_B.weight`)),
  );
  const tensors: TensorToWrite[] = [];
  for (let layer = 0; layer < spec.layers; layer++)
    for (const { path, from, to } of on) {
      const stem = `${spec.layer(layer)}${path}`;
      const [a, b] = [`${stem}.lora_A.weight`, `${stem}.lora_B.weight`];
      if (held.has(PEFT_PREFIX + a) !== held.has(PEFT_PREFIX + b))
        throw new FettleError(
          'MODEL_INCOMPLETE',
          `The adapter has ${held.has(PEFT_PREFIX + a) ? a : b} without its other half.`,
          'Get the complete file.',
        );
      tensors.push(matrix(a, [rank, from]), matrix(b, [to, rank]));
    }
  const [stray] = held;
  if (stray !== undefined)
    throw refused(`${stray} belongs to no part that Fettle tunes (${parts.map(({ module }) => module).join(', ')})`);
  return { targetModules: on.map(({ module }) => module), tensors };
}
