/** @file What the host and a child process say to each other. JSON values over the process channel. */
import type { ErrorShape } from '../contract/errors.ts';
import type { Ask } from '../core/context.ts';

export type ToChild =
  | { readonly type: 'start'; readonly job: unknown }
  | { readonly type: 'ask'; readonly ask: Ask }
  | { readonly type: 'message'; readonly message: unknown };

export type FromChild =
  | { readonly type: 'ready' }
  | { readonly type: 'heartbeat' }
  | { readonly type: 'event'; readonly event: unknown }
  | { readonly type: 'done'; readonly result: unknown }
  | { readonly type: 'failed'; readonly error: ErrorShape };
