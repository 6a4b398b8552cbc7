/** @file Child process: whether a graphics processor works here, how fast, and with which numbers. Without one it fails, or crashes. */
import { measureDevice, type MeasuredDevice } from '../engine/segments/device-speed.ts';
import { runChild } from './child.ts';

// Vulkan's loader then says on the error output which device it opened; the host reads it there.
process.env['VK_LOADER_DEBUG'] = 'driver';

runChild<object, never, MeasuredDevice>(() => measureDevice());
