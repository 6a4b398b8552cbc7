/** @file The transport of the web host: one WebSocket; lost, it is tried again with growing pauses and every subscription goes on after its last number. */
import { z } from 'zod';
import type { EventOf, InputOf, OutputOf, ProcedureName, Topic } from '../../main/contract/api.ts';
import type { ClientMessage } from '../../main/contract/wire.ts';
import { ERROR_CODES, FettleError, type ErrorCode } from '../../main/contract/errors.ts';
import { readEvent, readReply, type Link, type Transport } from './transport.ts';
import { upload } from './upload.ts';

const isCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);
const Shape = z.object({
  code: z.string().transform((code): ErrorCode => (isCode(code) ? code : 'INTERNAL')),
  message: z.string(),
  hint: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});
const Message = z.object({
  id: z.number(),
  reply: z
    .discriminatedUnion('ok', [
      z.object({ ok: z.literal(true), data: z.unknown() }),
      z.object({ ok: z.literal(false), error: Shape }),
    ])
    .optional(),
  event: z.object({ seq: z.number(), event: z.unknown() }).optional(),
});

interface Pending {
  readonly message: string;
  resolve(reply: z.infer<typeof Message>['reply'] & object): void;
  reject(error: FettleError): void;
}
interface Subscription {
  readonly topic: Topic;
  last: number;
  tell(seq: number, event: unknown): void;
}

/** Milliseconds before a lost connection is tried again, by how often that failed. */
const PAUSES = [250, 500, 1000, 2000, 4000];

const unreachable = (): FettleError =>
  new FettleError(
    'HOST_UNREACHABLE',
    'Fettle does not answer.',
    'Runs go on by themselves if the program is still there. If it was closed, start it again; this page then goes on.',
  );

export function createSocketTransport(
  url: string,
  open: (url: string) => WebSocket = (at) => new WebSocket(at),
): Transport {
  let socket: WebSocket | undefined;
  let link: Link = 'connecting';
  let failures = 0;
  let nextId = 1;
  const pending = new Map<number, Pending>();
  const subscriptions = new Map<number, Subscription>();
  const linkListeners = new Set<(link: Link) => void>();

  const setLink = (now: Link): void => {
    if (now === link) return;
    link = now;
    for (const listener of linkListeners) listener(now);
  };
  const send = (message: ClientMessage): void => {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message));
  };
  const subscribe = (id: number, { topic, last }: Subscription): void =>
    send({ id, subscribe: { topic, after: last } });

  function receive(text: unknown): void {
    if (typeof text !== 'string') return;
    const parsed = Message.safeParse(JSON.parse(text));
    if (!parsed.success) return;
    const { id, reply, event } = parsed.data;
    if (reply) {
      pending.get(id)?.resolve(reply);
      pending.delete(id);
    }
    const subscription = event && subscriptions.get(id);
    if (subscription && event.seq > subscription.last) {
      subscription.last = event.seq;
      subscription.tell(event.seq, event.event);
    }
  }

  function connect(): void {
    const now = open(url);
    socket = now;
    now.onopen = () => {
      failures = 0;
      for (const [id, subscription] of subscriptions) {
        // Only a run's numbers outlive the host: a new host counts the others from one again.
        if (!subscription.topic.startsWith('run:') && link === 'down') subscription.last = 0;
        subscribe(id, subscription);
      }
      for (const { message } of pending.values()) now.send(message);
      setLink('up');
    };
    now.onmessage = (message) => receive(message.data);
    now.onclose = () => {
      socket = undefined;
      for (const { reject } of pending.values()) reject(unreachable());
      pending.clear();
      setLink('down');
      setTimeout(connect, PAUSES[Math.min(failures++, PAUSES.length - 1)]);
    };
  }
  connect();

  return {
    async call<N extends ProcedureName>(name: N, input: InputOf<N>): Promise<OutputOf<N>> {
      if (link === 'down') throw unreachable();
      const id = nextId++;
      const message = JSON.stringify({ id, call: { name, input } });
      const reply = await new Promise<Parameters<Pending['resolve']>[0]>((resolve, reject) => {
        pending.set(id, { message, resolve, reject });
        if (socket?.readyState === 1) socket.send(message);
      });
      return readReply(name, reply);
    },
    subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void) {
      const id = nextId++;
      const subscription: Subscription = {
        topic,
        last: after,
        tell(seq, raw) {
          const event = readEvent(topic, raw);
          if (event !== undefined) listener(seq, event);
        },
      };
      subscriptions.set(id, subscription);
      subscribe(id, subscription);
      return () => {
        subscriptions.delete(id);
        send({ id, unsubscribe: true });
      };
    },
    onLink(listener) {
      linkListeners.add(listener);
      listener(link);
      return () => linkListeners.delete(listener);
    },
    bring: upload,
    pick: null,
  };
}
