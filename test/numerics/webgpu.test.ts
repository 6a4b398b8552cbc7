/** @file Training on a graphics processor beside the same on the CPU, on SwiftShader: losses, norms and values, what is carried there and back, and how it goes on after a checkpoint. */
import type { Tensor } from 'onnxruntime-node';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadBase, modulesOf, readSpec, type BaseModel, type TunedModel } from '../../main/engine/index.ts';
import { emit } from '../../main/engine/graph/emit.ts';
import type { Device } from '../../main/engine/graph/op.ts';
import { gemm } from '../../main/engine/graph/ops/index.ts';
import { Scope } from '../../main/engine/graph/value.ts';
import { DeviceParameters } from '../../main/engine/model/device-parameters.ts';
import { trainedParameters } from '../../main/engine/model/parameters.ts';
import { DeviceMemory } from '../../main/engine/segments/device-memory.ts';
import { tensor, zeros } from '../../main/engine/segments/session.ts';
import { DeviceAdamW } from '../../main/engine/train/device-adamw.ts';
import type { Batch } from '../../main/engine/types.ts';
import { randomWeights, TINY_CONFIGS } from '../fixtures/tiny-configs.ts';
import { found, need } from '../support/needs.ts';
import { worstDifference } from '../support/numbers.ts';

const ROWS = 2;
const LENGTH = 64;
/** Absolute, in nats; of the norms, relative. */
const TOLERANCE = 1e-3;
const ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, loraPlusRatio: 2 };

/** Text that can be learned in ten steps; where it is packed, a row holds two documents. */
function batchAt(step: number, packed: boolean): Batch {
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

async function open(
  name: string,
  device: Device,
  activationCheckpointing = false,
): Promise<{ base: BaseModel; model: TunedModel }> {
  const config = TINY_CONFIGS[name]!;
  const base = await loadBase(config, randomWeights(config), { threads: 1, device });
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

/** Makes this process find SwiftShader where it looks for graphics processors. */
async function needDevice(test: { skip(note?: string): void }): Promise<void> {
  process.env['VK_ICD_FILENAMES'] = need(test, 'swiftshader', found.swiftshader);
  await device.put('held', { x: zeros([1]) });
}

/** As long as anything lies on the device, it keeps the programs that it compiled. */
const device = new DeviceMemory();
afterAll(() => device.release());

const CASES = [
  { name: 'llama', packed: false, activationCheckpointing: false },
  { name: 'gemma2', packed: true, activationCheckpointing: false },
  { name: 'gpt2', packed: false, activationCheckpointing: true },
] as const;

// Most of the time it compiles shaders, on cores that may have other work.
describe('training on a graphics processor', { timeout: 300_000 }, () => {
  for (const { name, packed, activationCheckpointing } of CASES)
    it(`${name}: ten steps are those of the CPU`, async (test) => {
      await needDevice(test);
      const host = await open(name, 'cpu', activationCheckpointing);
      const placed = await open(name, 'webgpu', activationCheckpointing);
      const [wanted, got] = [await steps(host.model, 10, packed), await steps(placed.model, 10, packed)];
      expect(wanted.losses[9]).toBeLessThan(wanted.losses[1]! - 0.5);
      for (const [i, loss] of wanted.losses.entries()) {
        expect(Math.abs(got.losses[i]! - loss), `loss at step ${i}`).toBeLessThan(TOLERANCE);
        expect(Math.abs(got.norms[i]! / wanted.norms[i]! - 1), `norm at step ${i}`).toBeLessThan(TOLERANCE);
      }
      expect(worstDifference(got.values, wanted.values)).toBeLessThan(TOLERANCE);
      expect(worstDifference(got.measured, wanted.measured)).toBeLessThan(TOLERANCE);
    });

  it('carries in what a batch is and out what is told of it', async (test) => {
    await needDevice(test);
    // Packed, where masks are made of the documents' numbers.
    const { base, model } = await open('llama', 'webgpu');
    const optimizer = model.optimizer(ADAMW);
    const step = async (): Promise<void> => {
      const batch = batchAt(0, true);
      await optimizer.zero();
      await model.accumulate(batch, 1 / batch.labelled);
      await optimizer.clip(1);
      await optimizer.step(1e-2);
    };
    await step();
    const before = base.onDevice!;
    await step();
    const after = base.onDevice!;
    const [up, down] = [after.up - before.up, after.down - before.down];
    expect(after.held).toBe(before.held);
    const { labelled } = batchAt(0, true);
    const places = Math.ceil(labelled / 32) * 32;
    // Ids, positions for the blocks, documents, where each row's gradient comes from, and whether it has one.
    const rows = ROWS * LENGTH * (8 + 8 + 4 + 8 + 4);
    // Labels, their rows, their weights; four numbers of AdamW.
    expect(up).toBeLessThanOrEqual(rows + places * (8 + 8 + 4) + 4 * 4);
    // The sum of the losses, and the norm.
    expect(down).toBe(4 * (1 + 1));
  });

  it('holds nine numbers at the end of a step for each that is trained, as is estimated', async (test) => {
    await needDevice(test);
    const spec = readSpec(TINY_CONFIGS['llama']!);
    const targets = new Set(modulesOf(spec));
    const shape = { kind: 'adapter', rank: 4, scale: 2, targets, dora: false, dropout: 0 } as const;
    const memory = new DeviceMemory();
    onTestFinished(() => memory.release());
    const trained = new DeviceParameters(trainedParameters(spec, shape, new Set()), memory);
    const optimizer = new DeviceAdamW(trained, ADAMW);
    // Most is held before anything is given back.
    let most = 0;
    const free = memory.free.bind(memory);
    vi.spyOn(memory, 'free').mockImplementation((own) => {
      most = Math.max(most, memory.bytes);
      free(own);
    });
    await optimizer.zero();
    for (const layer of trained.layers) {
      const own: Record<string, Tensor> = {};
      for (const { name, rows, width } of trained.stacks) own[name] = await memory.keep(zeros([rows, width]));
      layer.become(own);
    }
    await optimizer.clip(1);
    await optimizer.step(1e-2);
    const count = trained.host.entries.reduce((sum, { size }) => sum + size, 0);
    // And the zeros of a layer that all gradients begin as, and the norm.
    expect(most).toBe(4 * (9 * count + count / spec.layers + 1));
  });

  it('that has no room says so, and goes on with what it has', async (test) => {
    await needDevice(test);
    const [n, memory] = [2 ** 16, device];
    const product = await memory.program('product', () => {
      const scope = new Scope();
      return emit(new Map([['y', gemm(scope.input('a', [n, 1]), scope.input('b', [1, n]))]]), 'webgpu');
    });
    const [a, b] = [zeros([n, 1]), zeros([1, n])];
    await expect(memory.run(product, [{ a, b }], 'product')).rejects.toMatchObject({
      code: 'DEVICE_FAILED',
      message: 'The graphics processor has no room for what a step needs.',
    });
    const { x } = await memory.put('small', { x: tensor(Float32Array.of(1, 2), [1, 2]) });
    expect([...(await memory.read(x!))]).toEqual([1, 2]);
  });
});
