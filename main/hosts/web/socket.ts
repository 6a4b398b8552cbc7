/** @file One client's WebSocket: calls answered, topics told in order, a client that does not keep up let go. */
import type { WebSocket } from 'ws';
import type { Topic } from '../../contract/api.ts';
import { ClientMessage, type HostMessage } from '../../contract/wire.ts';
import type { Served } from './server.ts';

/** Waiting to be sent; a client behind by more is cut off, comes again, and asks for what it missed. */
const MOST_WAITING_BYTES = 64 * 2 ** 20;
const MOST_SUBSCRIPTIONS = 200;
const PING_MS = 20_000;
const TOPIC = /^(run:[\w-]+|generation:[\w-]+|jobs|changes)$/;

export function attachSocket(client: WebSocket, { dispatch, events }: Served): void {
  const subscriptions = new Map<number, () => void>();
  let answered = true;
  const send = (message: HostMessage): void => {
    if (client.readyState !== client.OPEN) return;
    if (client.bufferedAmount > MOST_WAITING_BYTES) client.terminate();
    else client.send(JSON.stringify(message));
  };
  const unsubscribe = (id: number): void => {
    subscriptions.get(id)?.();
    subscriptions.delete(id);
  };

  client.on('message', (data, binary) => {
    const message = binary ? null : parse(String(data as Buffer));
    if (message === null) return client.close(1008, 'not understood');
    if ('call' in message)
      void dispatch(message.call.name, message.call.input).then((reply) => send({ id: message.id, reply }));
    else {
      unsubscribe(message.id);
      if (!('subscribe' in message)) return;
      const { topic, after } = message.subscribe;
      if (!TOPIC.test(topic) || subscriptions.size >= MOST_SUBSCRIPTIONS) return client.close(1008, 'no such topic');
      subscriptions.set(
        message.id,
        events.subscribe(topic as Topic, after, (seq, event) => send({ id: message.id, event: { seq, event } })),
      );
    }
  });
  client.on('pong', () => (answered = true));
  // A laptop that slept leaves a connection that nobody closes.
  const ping = setInterval(() => {
    if (!answered) return client.terminate();
    answered = false;
    client.ping();
  }, PING_MS);
  client.on('close', () => {
    clearInterval(ping);
    for (const id of [...subscriptions.keys()]) unsubscribe(id);
  });
  client.on('error', () => client.terminate());
}

function parse(text: string): ClientMessage | null {
  try {
    return ClientMessage.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
