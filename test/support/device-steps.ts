/** @file Some steps of a tiny model on a graphics processor or on the CPU, and what came of them; and that they are the same. */
import { expect, onTestFinished } from 'vitest';
import type { Precision } from '../../main/contract/recipe.ts';
import { loadBase, modulesOf, type BaseModel, type TunedModel } from '../../main/engine/index.ts';
import type { Device } from '../../main/engine/graph/op.ts';
import type { Batch } from '../../main/engine/types.ts';
import { randomWeights, TINY_CONFIGS } from '../fixtures/tiny-configs.ts';
import { worstDifference } from './numbers.ts';

export const ROWS = 2;
export const LENGTH = 64;
/** Absolute, in nats; of the norms, relative. */
const TOLERANCE = 1e-3;
export const ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, loraPlusRatio: 2 };

/** Text that can be learned in ten steps; where it is packed, a row holds two documents. */
export function batchAt(step: number, packed: boolean): Batch {
  const size = ROWS * LENGTH;
  const ids = Int32Array.from({ length: size }, (_, i) => (i * i * 31 + (step % 2) * 13) % 96);
  const second = (i: number): boolean => packed && i % LENGTH >= 20;
  return {
    rows: ROWS,
    length: LENGTH,
    ids,
    positions: Int32Array.from({ length: size }, (_, i) => (i % LENGTH) - (second(i) ? 20 : 0)),
    documents: Int32Array.from({ length: size }, (_, i) => (second(i) ? 2 : 1)),
    labels: Int32Array.from({ length: size }, (_, i) => (i % 3 === 0 ? -1 : ids[(i + 1) % size]!)),
    tokens: size,
    labelled: size - Math.ceil(size / 3),
  };
}

interface Steps {
  readonly losses: number[];
  readonly norms: number[];
  readonly values: Float32Array;
  readonly measured: Float32Array;
}

interface Opening {
  readonly activationCheckpointing?: boolean;
  readonly precision?: Precision;
}

export async function open(
  name: string,
  device: Device,
  { activationCheckpointing = false, precision = 'fp32' }: Opening = {},
): Promise<{ base: BaseModel; model: TunedModel }> {
  const config = TINY_CONFIGS[name]!;
  const base = await loadBase(config, randomWeights(config), { threads: 1, device, precision });
  onTestFinished(() => base.release());
  const targetModules = modulesOf(base.spec);
  return { base, model: base.withLora({ seed: 1, rank: 4, alpha: 8, targetModules, activationCheckpointing }) };
}

async function steps(model: TunedModel, count: number, packed: boolean): Promise<Steps> {
  const optimizer = model.optimizer(ADAMW);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < count; step++) {
    const batch = batchAt(step, packed);
    await optimizer.zero();
    losses.push((await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled);
    norms.push(await optimizer.clip(1));
    await optimizer.step(1e-2);
  }
  await optimizer.read();
  return { losses, norms, values: model.parameters.values.slice(), measured: await model.losses(batchAt(0, packed)) };
}

/** Models that have little in common, and of each another way of training. */
export const FAMILIES = [
  { name: 'llama', packed: false, activationCheckpointing: false },
  { name: 'gemma2', packed: true, activationCheckpointing: false },
  { name: 'gpt2', packed: false, activationCheckpointing: true },
] as const;

/** Ten steps on both: losses, norms, values, and what is measured with them. */
export async function expectSame(
  name: string,
  { packed = false, ...opening }: Opening & { readonly packed?: boolean },
): Promise<void> {
  const host = await open(name, 'cpu', opening);
  const placed = await open(name, 'webgpu', opening);
  const [wanted, got] = [await steps(host.model, 10, packed), await steps(placed.model, 10, packed)];
  expect(wanted.losses[9]).toBeLessThan(wanted.losses[1]! - 0.5);
  for (const [i, loss] of wanted.losses.entries()) {
    expect(Math.abs(got.losses[i]! - loss), `loss at step ${i}`).toBeLessThan(TOLERANCE);
    expect(Math.abs(got.norms[i]! / wanted.norms[i]! - 1), `norm at step ${i}`).toBeLessThan(TOLERANCE);
  }
  expect(worstDifference(got.values, wanted.values)).toBeLessThan(TOLERANCE);
  expect(worstDifference(got.measured, wanted.measured)).toBeLessThan(TOLERANCE);
}
