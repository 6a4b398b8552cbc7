/** @file What a person is told where a graphics processor gives up, by what the runtime says of it. */
import { expect, it } from 'vitest';
import { deviceFailed } from './session.ts';

it.each([
  ['WebGPU device lost (2): A valid external Instance reference no longer exists.', /^The .* was lost/],
  ['[Device] is lost.', /^The .* was lost/],
  ['WebGPU device error(3): Out of memory: VK_ERROR_OUT_OF_DEVICE_MEMORY', /^The .* has no room/],
  ['WebGPU device error(2): [Invalid Buffer (unlabeled)] is invalid', /^The .* has no room/],
  ['Non-zero status code returned while running Gemm node', /^The .* failed/],
])('%s', (said, message) => {
  expect(() => deviceFailed(new Error(said))).toThrow(
    expect.objectContaining({
      code: 'DEVICE_FAILED',
      message: expect.stringMatching(message) as unknown,
      hint: expect.stringContaining('device cpu') as unknown,
      details: { said },
    }),
  );
});
