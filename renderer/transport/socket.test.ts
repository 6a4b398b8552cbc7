/** @file A connection that is lost in mid-run: what was missed must come, once each, and nobody may wait for ever. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSocketTransport } from './socket.ts';

/** The other end of the wire. */
class Wire {
  readyState = 0;
  readonly sent: Record<string, unknown>[] = [];
  onopen?: () => void;
  onclose?: () => void;
  onmessage?: (message: { data: string }) => void;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  lose(): void {
    this.readyState = 3;
    this.onclose?.();
  }
  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}
const wires: Wire[] = [];
const connect = () =>
  createSocketTransport('ws://127.0.0.1/ws', () => {
    const wire = new Wire();
    wires.push(wire);
    return wire as unknown as WebSocket;
  });
const last = (): Wire => wires.at(-1)!;
const sample = (text: string) => ({ type: 'sample', step: 1, prompt: 'p', text });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  wires.length = 0;
});

describe('the connection to the host', () => {
  it('asks once it is open for what was asked before', async () => {
    const client = connect();
    const answer = client.call('projects.list', {});
    expect(last().sent).toEqual([]);
    last().open();
    const { id } = last().sent[0]!;
    last().say({ id, reply: { ok: true, data: [] } });
    await expect(answer).resolves.toEqual([]);
  });

  it('goes on after the last number that came, and passes nothing on twice', () => {
    const client = connect();
    const told: number[] = [];
    client.subscribe('run:letters-1', 5, (seq) => told.push(seq));
    last().open();
    const { id } = last().sent[0]!;
    last().say({ id, event: { seq: 6, event: sample('a') } });
    last().say({ id, event: { seq: 6, event: sample('a') } });
    last().lose();
    vi.advanceTimersByTime(300);
    last().open();
    expect(last().sent[0]).toEqual({ id, subscribe: { topic: 'run:letters-1', after: 6 } });
    last().say({ id, event: { seq: 7, event: sample('b') } });
    expect(told).toEqual([6, 7]);
  });

  it('counts from one again what only lived as long as the host', () => {
    const client = connect();
    client.subscribe('changes', 0, () => undefined);
    last().open();
    const { id } = last().sent[0]!;
    last().say({ id, event: { seq: 9, event: { type: 'changed', what: 'run', id: 'a', project: null } } });
    last().lose();
    vi.advanceTimersByTime(300);
    last().open();
    expect(last().sent[0]).toEqual({ id, subscribe: { topic: 'changes', after: 0 } });
  });

  it('tells those who wait that the host is gone', async () => {
    const client = connect();
    last().open();
    const answer = client.call('projects.list', {});
    last().lose();
    await expect(answer).rejects.toMatchObject({ code: 'HOST_UNREACHABLE' });
    await expect(client.call('projects.list', {})).rejects.toMatchObject({ code: 'HOST_UNREACHABLE' });
  });

  it('hands on an error as the host said it', async () => {
    const client = connect();
    last().open();
    const answer = client.call('projects.show', { project: 'none' });
    last().say({
      id: last().sent[0]!['id'],
      reply: { ok: false, error: { code: 'PROJECT_NOT_FOUND', message: 'There is none.', hint: 'Make one.' } },
    });
    await expect(answer).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND', hint: 'Make one.' });
  });
});
