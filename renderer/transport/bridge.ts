/** @file The transport of the desktop window: what the preload script put there. The host lives in the same program, so it is always up. */
import type { EventOf, InputOf, OutputOf, ProcedureName, Reply, Topic } from '../../main/contract/api.ts';
import { readEvent, readReply, type Purpose, type Transport } from './transport.ts';

/** What the preload script puts on `window`. */
export interface Bridge {
  call(name: string, input: unknown): Promise<Reply>;
  subscribe(topic: string, after: number, listener: (seq: number, event: unknown) => void): () => void;
  pathOf(file: File): string;
  pickFiles(purpose: Purpose): Promise<string[]>;
}
declare global {
  interface Window {
    readonly fettle?: Bridge;
  }
}

export function createBridgeTransport(bridge: Bridge): Transport {
  return {
    async call<N extends ProcedureName>(name: N, input: InputOf<N>): Promise<OutputOf<N>> {
      return readReply(name, await bridge.call(name, input));
    },
    subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void) {
      return bridge.subscribe(topic, after, (seq, raw) => {
        const event = readEvent(topic, raw);
        if (event !== undefined) listener(seq, event);
      });
    },
    onLink(listener) {
      listener('up');
      return () => undefined;
    },
    bring: (files) => Promise.resolve(files.map((file) => bridge.pathOf(file))),
    pick: (purpose) => bridge.pickFiles(purpose),
  };
}
