/** @file The web host: the workbench's files, uploads and the WebSocket, on 127.0.0.1 and for those who know the token. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import type { Reply } from '../../contract/api.ts';
import { toFettleError } from '../../contract/errors.ts';
import type { Events } from '../../core/context.ts';
import { SECURITY_HEADERS } from '../policy.ts';
import { authorised, cookieFor, localHost, localOrigin } from './access.ts';
import { serveFile } from './files.ts';
import { attachSocket } from './socket.ts';
import { receiveUpload } from './upload.ts';

/** What the host needs of the app. */
export interface Served {
  dispatch(name: string, input: unknown): Promise<Reply>;
  readonly events: Events;
}
export interface WebOptions {
  /** 0 takes any that is free. */
  readonly port: number;
  readonly token: string;
  /** Folder of the built workbench; null where only commands are served. */
  readonly renderer: string | null;
  /** Folder for files that a browser hands over. */
  readonly uploads: string;
}
export interface WebHost {
  readonly port: number;
  /** With the token: opening it lets the browser in. */
  readonly url: string;
  /** Sockets that are open now. */
  clients(): number;
  /** Resolves when no socket is open, or at the signal. */
  left(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const MOST_MESSAGE_BYTES = 4 * 2 ** 20;
/** @throws PORT_IN_USE */
export async function serveWeb(served: Served, options: WebOptions): Promise<WebHost> {
  const { token } = options;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MOST_MESSAGE_BYTES });
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    answer(request, response, options, portOf(server)).catch((error: unknown) =>
      refuse(response, 500, toFettleError(error)),
    );
  });
  server.on('upgrade', (request, socket, head) => {
    // A peer that goes in mid-word is nobody's fault.
    socket.on('error', () => socket.destroy());
    const port = portOf(server);
    const allowed =
      localHost(request, port) && localOrigin(request, port) && authorised(request, token) && pathOf(request) === '/ws';
    if (!allowed) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => attachSocket(client, served));
  });
  await listen(server, options.port);
  const port = portOf(server);
  return {
    port,
    clients: () => sockets.clients.size,
    async left(signal) {
      while (sockets.clients.size > 0 && !signal.aborted)
        await Promise.race([...[...sockets.clients].map((client) => once(client, 'close')), once(signal, 'abort')]);
    },
    url: `http://127.0.0.1:${port}/?token=${token}`,
    close: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: WebOptions,
  port: number,
): Promise<void> {
  const { token, renderer, uploads } = options;
  // A page of another site that had its name pointed here would still say its own name.
  if (!localHost(request, port))
    return refuse(response, 421, { code: 'UNAUTHORISED', message: 'Fettle answers on 127.0.0.1 only.' });
  const url = URL.parse(request.url ?? '/', 'http://localhost');
  if (!url) return refuse(response, 400, { code: 'INPUT_INVALID', message: 'That is no address.' });
  if (url.pathname === '/health') return send(response, 200, { ok: true });
  if (request.method === 'GET' && url.searchParams.has('token') && authorised(request, token)) {
    response.setHeader('set-cookie', cookieFor(token, port));
    url.searchParams.delete('token');
    response.writeHead(303, { location: url.pathname + url.search }).end();
    return;
  }
  if (!authorised(request, token))
    return refuse(response, 401, {
      code: 'UNAUTHORISED',
      message: 'This page needs the address that Fettle printed when it started.',
      hint: 'Open it with the token in it, or run `fettle serve` again.',
    });
  if (request.method === 'POST' && url.pathname === '/upload') {
    if (!localOrigin(request, port))
      return refuse(response, 403, { code: 'UNAUTHORISED', message: 'That came from another page.' });
    return send(response, 200, { path: await receiveUpload(request, uploads, url.searchParams.get('name') ?? '') });
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return refuse(response, 405, { code: 'INPUT_INVALID', message: 'That cannot be done here.' });
  if (renderer === null)
    return refuse(response, 404, {
      code: 'FILE_NOT_FOUND',
      message: 'This host serves commands only.',
      hint: '`fettle serve` opens the workbench.',
    });
  await serveFile(response, renderer, url.pathname);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
    .end(JSON.stringify(body));
}

function refuse(
  response: ServerResponse,
  status: number,
  { code, message, hint }: { code: string; message: string; hint?: string | undefined },
): void {
  if (response.headersSent) response.destroy();
  else send(response, status, { error: { code, message, hint } });
}

/** Empty where the address is none. */
const pathOf = (request: IncomingMessage): string => URL.parse(request.url ?? '/', 'http://localhost')?.pathname ?? '';
const portOf = (server: Server): number => (server.address() as AddressInfo | null)?.port ?? 0;

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(toFettleError(error)));
    server.listen(port, '127.0.0.1', () => resolve());
  });
}
