/** @file How large the pieces are that a step is cut into, by what a device does best (measured: docs/decisions). */
import type { Device } from '../graph/op.ts';
import { QUERY_BLOCK } from '../layers/attention.ts';

export interface Pieces {
  /** Tokens of a micro-batch; a row that is longer is one by itself. */
  readonly tokens: number;
  /** Labelled rows that go through the head at once. */
  readonly headRows: number;
  /** Queries that attend at once. */
  readonly queries: number;
}

/** A CPU's should fit its cache. A graphics processor takes as long to begin a small thing as a large one. */
export const PIECES: Readonly<Record<Device, Pieces>> = {
  cpu: { tokens: 512, headRows: 128, queries: QUERY_BLOCK },
  webgpu: { tokens: 2048, headRows: 512, queries: 512 },
};

/** Numbers of a micro-batch's tokens that a graphics processor is tried with, by its memory. */
export const DEVICE_TOKENS = [8192, 4096, 2048, 1024, 512] as const;
