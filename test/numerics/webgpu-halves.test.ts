/** @file Training on a graphics processor that knows 16-bit numbers, Mesa's in software: a base in halves takes half the room there, and its steps are those of the CPU. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readSpec } from '../../main/engine/index.ts';
import { wantedBy } from '../../main/engine/model/weights.ts';
import { DeviceMemory } from '../../main/engine/segments/device-memory.ts';
import { zeros } from '../../main/engine/segments/session.ts';
import { TINY_CONFIGS } from '../fixtures/tiny-configs.ts';
import { expectSame, FAMILIES, open } from '../support/device-steps.ts';
import { found, need } from '../support/needs.ts';

/** As long as anything lies on the device, it keeps the programs that it compiled. */
const device = new DeviceMemory();
afterAll(() => device.release());
beforeEach(async (test) => {
  process.env['VK_ICD_FILENAMES'] = need(test, 'lavapipe', found.lavapipe);
  await device.put('held', { x: zeros([1]) });
});

describe('on a graphics processor', { timeout: 300_000 }, () => {
  it.each(FAMILIES)('$name in halves: ten steps are those of the CPU', ({ name, ...how }) =>
    expectSame(name, { ...how, precision: 'fp16' }),
  );

  it('another driver than SwiftShader takes the same ten steps in fp32', () => expectSame('llama', { packed: true }));

  it('the matrices of a base in halves take half the bytes', async () => {
    const exact = await open('llama', 'webgpu');
    const halves = await open('llama', 'webgpu', { precision: 'fp16' });
    const { embedding, head, layers } = wantedBy(readSpec(TINY_CONFIGS['llama']!));
    const matrices = [...embedding, head, ...layers.flat()].filter(({ shape }) => shape.length === 2);
    const numbers = matrices.reduce((sum, { shape: [rows, columns] }) => sum + rows! * columns!, 0);
    expect(exact.base.onDevice!.held - halves.base.onDevice!.held).toBe(2 * numbers);
  });
});
