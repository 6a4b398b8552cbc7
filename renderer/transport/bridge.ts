/** @file The transport of the desktop window: what the preload script put there. The host lives in the same program, so it is always up. */
import type { EventOf, InputOf, OutputOf, ProcedureName, Topic } from '../../main/contract/api.ts';
import { FettleError } from '../../main/contract/errors.ts';
import type { FettleBridge } from '../../main/contract/wire.ts';
import { readEvent, readReply, type Transport } from './transport.ts';

declare global {
  interface Window {
    readonly fettle?: FettleBridge;
  }
}

export function createBridgeTransport(bridge: FettleBridge): Transport {
  const { pathOf, pickFiles } = bridge;
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
    async bring(files) {
      if (!pathOf)
        throw new FettleError(
          'FILE_UNREADABLE',
          'This window cannot take dropped files.',
          'Choose them with the button.',
        );
      return files.map((file) => pathOf(file));
    },
    pick: pickFiles ? (purpose) => pickFiles(purpose) : null,
  };
}
