/** @file The system's clock. */
import type { Clock } from './context.ts';

export const systemClock: Clock = { now: () => new Date().toISOString(), ticks: () => performance.now() };
