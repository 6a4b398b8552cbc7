/** @file What travels between a client and a host, over a WebSocket or Electron's bridge. */
import { z } from 'zod';
import type { Reply } from './api.ts';

/** From the client; `id` is its own, and names the call or the subscription in what comes back. */
export const ClientMessage = z.union([
  z.strictObject({ id: z.int().min(0), call: z.strictObject({ name: z.string().max(100), input: z.unknown() }) }),
  z.strictObject({
    id: z.int().min(0),
    subscribe: z.strictObject({ topic: z.string().max(200), after: z.int().min(0) }),
  }),
  z.strictObject({ id: z.int().min(0), unsubscribe: z.literal(true) }),
]);
export type ClientMessage = z.infer<typeof ClientMessage>;

export type HostMessage =
  | { readonly id: number; readonly reply: Reply }
  | { readonly id: number; readonly event: { readonly seq: number; readonly event: unknown } };

/** What the preload script puts into Electron's window as `window.fettle`. */
export interface FettleBridge {
  call(name: string, input: unknown): Promise<Reply>;
  /** Returns how to stop. */
  subscribe(topic: string, after: number, listener: (seq: number, event: unknown) => void): () => void;
  /** The system's own dialog; absolute paths, none where it was closed. */
  pickFiles?(purpose: 'data' | 'model' | 'folder'): Promise<string[]>;
  /** Where a file that was dropped on the window lies. */
  pathOf?(file: File): string;
}
