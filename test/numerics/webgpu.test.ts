/** @file Training on a graphics processor beside the same on the CPU, on SwiftShader: losses, norms and values, what is carried there and back, and how it goes on after a checkpoint. */
import type { Tensor } from 'onnxruntime-node';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { modulesOf, readSpec } from '../../main/engine/index.ts';
import { emit } from '../../main/engine/graph/emit.ts';
import { gemm } from '../../main/engine/graph/ops/index.ts';
import { Scope } from '../../main/engine/graph/value.ts';
import { DeviceParameters } from '../../main/engine/model/device-parameters.ts';
import { trainedParameters } from '../../main/engine/model/parameters.ts';
import { DeviceMemory } from '../../main/engine/segments/device-memory.ts';
import { tensor, zeros } from '../../main/engine/segments/session.ts';
import { DeviceAdamW } from '../../main/engine/train/device-adamw.ts';
import { TINY_CONFIGS } from '../fixtures/tiny-configs.ts';
import { ADAMW, batchAt, expectSame, FAMILIES, LENGTH, open, ROWS } from '../support/device-steps.ts';
import { found, need } from '../support/needs.ts';

/** Makes this process find SwiftShader where it looks for graphics processors. */
async function needDevice(test: { skip(note?: string): void }): Promise<void> {
  process.env['VK_ICD_FILENAMES'] = need(test, 'swiftshader', found.swiftshader);
  await device.put('held', { x: zeros([1]) });
}

/** As long as anything lies on the device, it keeps the programs that it compiled. */
const device = new DeviceMemory();
afterAll(() => device.release());

// Most of the time it compiles shaders, on cores that may have other work.
describe('training on a graphics processor', { timeout: 300_000 }, () => {
  for (const { name, ...how } of FAMILIES)
    it(`${name}: ten steps are those of the CPU`, async (test) => {
      await needDevice(test);
      await expectSame(name, how);
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
