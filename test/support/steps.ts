/** @file Steps of the optimiser beside those that PyTorch took on the same batches. */
import { expect } from 'vitest';
import type { TunedModel } from '../../main/engine/index.ts';
import type { AdamWOptions } from '../../main/engine/types.ts';
import type { openSafetensors } from '../../main/formats/safetensors.ts';
import { batchOf } from './oracle.ts';

interface Facts {
  readonly adamw: AdamWOptions & { readonly learningRate: number; readonly maxGradNorm: number };
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
}

/**
 * Trains on `train.ids` and `train.labels` [steps, rows, time].
 * @param tolerance of each loss, absolute in nats; of each gradient's norm, relative
 */
export async function expectSameSteps(
  model: TunedModel,
  expected: Awaited<ReturnType<typeof openSafetensors>>,
  facts: Facts,
  tolerance: { readonly loss: number; readonly gradient: number },
): Promise<void> {
  const [steps, ...shape] = expected.info('train.ids').shape as [number, number, number];
  const [ids, labels] = [
    Int32Array.from(await expected.readIntegers('train.ids')),
    Int32Array.from(await expected.readIntegers('train.labels')),
  ];
  const size = ids.length / steps;
  const { learningRate, maxGradNorm, ...options } = facts.adamw;
  const optimiser = model.optimizer(options);
  for (let step = 0; step < steps; step++) {
    const cut = (from: Int32Array): Int32Array => from.slice(step * size, (step + 1) * size);
    const batch = batchOf(shape, cut(ids), cut(labels));
    await optimiser.zero();
    const loss = (await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled;
    expect(Math.abs(loss - facts.losses[step]!), `step ${step}`).toBeLessThan(tolerance.loss);
    const norm = await optimiser.clip(maxGradNorm);
    expect(Math.abs(norm - facts.gradNorms[step]!) / facts.gradNorms[step]!, `norm at step ${step}`).toBeLessThan(
      tolerance.gradient,
    );
    await optimiser.step(learningRate);
  }
}
