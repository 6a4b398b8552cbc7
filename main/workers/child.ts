/** @file The child's side of the protocol: what every entry in this folder starts with. */
import { toFettleError } from '../contract/errors.ts';
import type { Ask } from '../core/context.ts';
import type { FromChild, ToChild } from './protocol.ts';

export interface ChildContext<Event> {
  emit(event: Event): void;
  /** What the host has asked for so far; the strongest ask wins (cancel over stop over pause). */
  requested(): 'none' | Ask;
  onMessage(listener: (message: unknown) => void): void;
  /** Aborted at a cancel. */
  readonly signal: AbortSignal;
}

const STRENGTH = { none: 0, pause: 1, stop: 2, cancel: 3 } as const;
const HEARTBEAT_MS = 2000;

/** Runs one job and ends the process. A child whose host is gone ends at once. */
export function runChild<Job, Event, Result>(main: (job: Job, context: ChildContext<Event>) => Promise<Result>): void {
  const port = channel();
  const abort = new AbortController();
  const listeners: ((message: unknown) => void)[] = [];
  let requested: 'none' | Ask = 'none';
  let started = false;
  // Ctrl-C in a terminal goes to every process of the command. The host decides what it means here, and asks.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

  const start = async (job: unknown): Promise<void> => {
    const heartbeat = setInterval(() => port.send({ type: 'heartbeat' }), HEARTBEAT_MS);
    try {
      const result = await main(job as Job, {
        emit: (event) => port.send({ type: 'event', event }),
        requested: () => requested,
        onMessage: (listener) => listeners.push(listener),
        signal: abort.signal,
      });
      await port.sendLast({ type: 'done', result });
    } catch (error) {
      const known = toFettleError(error);
      if (known.code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
      await port.sendLast({ type: 'failed', error: known.toShape() });
    } finally {
      clearInterval(heartbeat);
    }
    process.exit(0);
  };

  port.onMessage((message) => {
    if (message.type === 'start' && !started) {
      started = true;
      void start(message.job);
    } else if (message.type === 'ask') {
      if (STRENGTH[message.ask] > STRENGTH[requested]) requested = message.ask;
      if (requested === 'cancel') abort.abort();
    } else if (message.type === 'message') for (const listener of listeners) listener(message.message);
  });
  port.send({ type: 'ready' });
}

interface Channel {
  send(message: FromChild): void;
  sendLast(message: FromChild): Promise<void>;
  onMessage(listener: (message: ToChild) => void): void;
}

/** Electron's utilityProcess gives `process.parentPort`, Node's fork gives `process.send`. */
function channel(): Channel {
  const electron = (
    process as {
      parentPort?: { postMessage(m: unknown): void; on(e: 'message', l: (m: { data: unknown }) => void): void };
    }
  ).parentPort;
  if (electron)
    return {
      send: (message) => electron.postMessage(message),
      sendLast: (message) =>
        new Promise((resolve) => {
          electron.postMessage(message);
          setTimeout(resolve, 50);
        }),
      onMessage: (listener) => electron.on('message', ({ data }) => listener(data as ToChild)),
    };
  process.on('disconnect', () => process.exit(1));
  const send = (message: FromChild, sent?: () => void): void => {
    if (process.connected) process.send?.(message, undefined, {}, () => sent?.());
    else sent?.();
  };
  return {
    send,
    sendLast: (message) => new Promise((resolve) => send(message, resolve)),
    onMessage: (listener) => process.on('message', (message) => listener(message as ToChild)),
  };
}
