/** @file A client of a host in another process, over its local API. */
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Client, EventOf, InputOf, OutputOf, ProcedureName, Reply, Topic } from '../contract/api.ts';
import { FettleError } from '../contract/errors.ts';
import type { HostMessage } from '../contract/wire.ts';
import { findHost, type HostInfo } from '../core/lock.ts';
import { callThrough } from './app.ts';

export interface Attached extends Client {
  close(): void;
  /** Rejects when the host has gone without being asked to. */
  readonly lost: Promise<never>;
}

/** A host that has just taken its lock needs a moment until it listens, and one that closes until its run is paused. */
const TRIES = 300;
const PAUSE_MS = 100;

/** The living host of a home, once it listens; null where there is none, or where it never comes to listen. */
export async function runningHost(home: string): Promise<HostInfo | null> {
  for (let tries = 0; tries < TRIES; tries++) {
    const host = findHost(home);
    if (!host) return null;
    if (host !== 'unknown' && host.port > 0) return host;
    await wait(PAUSE_MS);
  }
  return null;
}

/** @throws HOST_UNREACHABLE */
export async function attach({ port, token }: Pick<HostInfo, 'port' | 'token'>): Promise<Attached> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { headers: { authorization: `Bearer ${token}` } });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) => reject(unreachable(error)));
  });
  let last = 0;
  const calls = new Map<number, { resolve: (reply: Reply) => void; reject: (error: FettleError) => void }>();
  const listeners = new Map<number, (seq: number, event: unknown) => void>();
  socket.on('message', (data) => {
    const message = JSON.parse(String(data as Buffer)) as HostMessage;
    if ('reply' in message) {
      calls.get(message.id)?.resolve(message.reply);
      calls.delete(message.id);
    } else listeners.get(message.id)?.(message.event.seq, message.event.event);
  });
  let closed = false;
  const lost = new Promise<never>((_, reject) =>
    socket.on('close', () => {
      for (const call of calls.values()) call.reject(unreachable());
      if (!closed) reject(unreachable());
    }),
  );
  // Whoever waits for it hears of it; nobody has to.
  lost.catch(() => undefined);
  socket.on('error', () => socket.terminate());

  const dispatch = (name: string, input: unknown): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (socket.readyState !== socket.OPEN) return reject(unreachable());
      calls.set(++last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, call: { name, input } }));
    });
  return {
    call: <N extends ProcedureName>(name: N, input: InputOf<N>): Promise<OutputOf<N>> =>
      callThrough(dispatch, name, input),
    subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void) {
      const id = ++last;
      listeners.set(id, listener as (seq: number, event: unknown) => void);
      socket.send(JSON.stringify({ id, subscribe: { topic, after } }));
      return () => {
        listeners.delete(id);
        if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ id, unsubscribe: true }));
      };
    },
    lost,
    close() {
      closed = true;
      socket.close();
    },
  };
}

const unreachable = (cause?: unknown): FettleError =>
  new FettleError('HOST_UNREACHABLE', 'The Fettle that holds this home does not answer.', 'Close it and try again.', {
    cause,
  });
