/** @file Chooses the transport: the desktop's bridge where there is one, else the web host that served this page. */
import { createBridgeTransport } from './bridge.ts';
import { createSocketTransport } from './socket.ts';
import type { Transport } from './transport.ts';

export function createTransport(): Transport {
  if (window.fettle) return createBridgeTransport(window.fettle);
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return createSocketTransport(`${scheme}//${location.host}/ws`);
}
