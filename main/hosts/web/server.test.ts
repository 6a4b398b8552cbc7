/** @file The web host: who gets in, what is served, and what travels over its socket. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { Events } from '../../core/context.ts';
import { takeLock } from '../../core/lock.ts';
import { attach, runningHost } from '../attach.ts';
import { serveWeb, type WebHost } from './server.ts';

const TOKEN = 'the-secret';
const folder = mkdtempSync(join(tmpdir(), 'fettle-web-'));
let host: WebHost;
let tell: (seq: number, event: unknown) => void = () => undefined;
const events = {
  subscribe: (_topic: string, after: number, listener: typeof tell) => {
    tell = listener;
    for (let seq = after + 1; seq <= 3; seq++)
      listener(seq, { type: 'changed', what: 'run', id: `r${seq}`, project: null });
    return () => (tell = () => undefined);
  },
} as unknown as Events;

beforeAll(async () => {
  mkdirSync(join(folder, 'site/assets'), { recursive: true });
  writeFileSync(join(folder, 'site/index.html'), '<title>Fettle</title>');
  writeFileSync(join(folder, 'site/assets/a.js'), '1');
  writeFileSync(join(folder, 'secret.txt'), 'secret');
  symlinkSync(join(folder, 'secret.txt'), join(folder, 'site/assets/link.txt'));
  host = await serveWeb(
    { dispatch: (name, input) => Promise.resolve({ ok: true, data: { name, input } }), events },
    { port: 0, token: TOKEN, renderer: join(folder, 'site'), uploads: join(folder, 'uploads') },
  );
});
afterAll(async () => {
  await host.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}
const ask = (path: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port: host.port, path, method: body === undefined ? 'GET' : 'POST', headers },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text, headers: response.headers }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
const bearer = { authorization: `Bearer ${TOKEN}` };

describe('who gets in', () => {
  it('nobody without the token, nor with another', async () => {
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { cookie: 'fettle-1=wrong' }])
      expect(await ask('/', headers)).toMatchObject({ status: 401 });
    expect(await ask('/?token=wrong')).toMatchObject({ status: 401 });
  });

  it('a browser by the address that was printed; then by its cookie', async () => {
    const first = await ask(`/?token=${TOKEN}`);
    expect(first).toMatchObject({ status: 303, headers: { location: '/' } });
    const cookie = String(first.headers['set-cookie']);
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    expect(await ask('/', { cookie: cookie.split(';', 1)[0]! })).toMatchObject({
      status: 200,
      body: '<title>Fettle</title>',
    });
  });

  it('no page that had its own name pointed here', async () => {
    expect(await ask('/', { ...bearer, host: 'evil.example' })).toMatchObject({ status: 421 });
  });

  it('no socket of another origin, or without the token', async () => {
    const failed = (headers: Record<string, string>): Promise<string> =>
      new Promise((resolve) => {
        new WebSocket(`ws://127.0.0.1:${host.port}/ws`, { headers }).on('error', (error) => resolve(error.message));
      });
    expect(await failed({})).toMatch(/403/);
    expect(await failed({ ...bearer, origin: 'http://evil.example' })).toMatch(/403/);
  });
});

describe('what is served', () => {
  it('the workbench’s files under a strict policy', async () => {
    const page = await ask('/project/a', bearer);
    expect(page.body).toContain('Fettle');
    expect(page.headers['content-security-policy']).toContain("default-src 'self'");
    expect(await ask('/assets/a.js', bearer)).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/javascript; charset=utf-8' },
    });
  });

  it('nothing outside their folder', async () => {
    for (const path of [
      '/../secret.txt',
      '/assets/..%2f..%2fsecret.txt',
      '/assets/link.txt',
      '/%2e%2e/secret.txt',
      '/assets/none.js',
    ])
      expect((await ask(path, bearer)).body).not.toContain('secret');
  });

  it('uploads under a harmless name in a folder of their own', async () => {
    const { status, body } = await ask(
      `/upload?name=${encodeURIComponent('../../evil:<name>.jsonl')}`,
      bearer,
      '{"a":1}\n',
    );
    expect(status).toBe(200);
    const { path } = JSON.parse(body) as { path: string };
    expect(path.startsWith(join(folder, 'uploads'))).toBe(true);
    expect(path).toMatch(/evil__name_\.jsonl$/);
    expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n');
    expect(await ask('/upload?name=a', { ...bearer, origin: 'http://evil.example' }, 'x')).toMatchObject({
      status: 403,
    });
  });

  it('a second host on the same port is told so', async () => {
    await expect(
      serveWeb(
        { dispatch: () => Promise.reject(new Error()), events },
        { port: host.port, token: TOKEN, renderer: null, uploads: folder },
      ),
    ).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  });
});

describe('the socket', () => {
  it('carries calls and topics, from the number that was seen last', async () => {
    const client = await attach({ port: host.port, token: TOKEN });
    expect(await client.call('projects.show', { project: 'a' })).toEqual({
      name: 'projects.show',
      input: { project: 'a' },
    });
    const heard: number[] = [];
    await new Promise<void>((resolve) => {
      client.subscribe('changes', 1, (seq) => {
        heard.push(seq);
        if (seq === 3) tell(4, { type: 'changed' });
        if (seq === 4) resolve();
      });
    });
    expect(heard).toEqual([2, 3, 4]);
    client.close();
  });

  it('lets go of a client that speaks nonsense', async () => {
    for (const nonsense of ['{', '{"id":1}', '{"id":1,"subscribe":{"topic":"../etc","after":0}}']) {
      const socket = new WebSocket(`ws://127.0.0.1:${host.port}/ws`, { headers: bearer });
      socket.on('open', () => socket.send(nonsense));
      expect(await new Promise((resolve) => socket.on('close', resolve))).toBe(1008);
    }
  });
});

describe('a stranger', () => {
  const knock = (request: string, reset = false): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(host.port, '127.0.0.1', () => {
        socket.write(request);
        if (reset) setImmediate(() => (socket.resetAndDestroy(), resolve('')));
      });
      let answer = '';
      socket.on('data', (data) => (answer += String(data)));
      socket.on('error', () => resolve(answer));
      socket.on('close', () => resolve(answer));
    });

  it('with an address that is none, or who goes in mid-word, does no harm', async () => {
    const upgrade = `Host: 127.0.0.1:${host.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    expect(await knock(`GET //[ HTTP/1.1\r\n${upgrade}`)).toContain('403');
    expect(await knock(`GET //[ HTTP/1.1\r\nHost: 127.0.0.1:${host.port}\r\nConnection: close\r\n\r\n`)).toContain(
      '400',
    );
    for (let i = 0; i < 20; i++) await knock(`GET /ws HTTP/1.1\r\n${upgrade}`, true);
    expect((await fetch(`http://127.0.0.1:${host.port}/health`)).ok).toBe(true);
  });
});

describe('a host that closes', () => {
  it('is waited for', async () => {
    const home = join(folder, 'home');
    mkdirSync(home);
    const lock = takeLock(home, { pid: process.pid, token: TOKEN, kind: 'command', startedAt: '2026-01-01T00:00:00Z' });
    lock.announce(host.port);
    expect(await runningHost(home)).toMatchObject({ port: host.port });
    lock.announce(0);
    const waiting = runningHost(home);
    setTimeout(() => lock.release(), 150);
    expect(await waiting).toBeNull();
  });

  it('is told of to those attached', async () => {
    const client = await attach({ port: host.port, token: TOKEN });
    const lost = expect(client.lost).rejects.toMatchObject({ code: 'HOST_UNREACHABLE' });
    await host.close();
    await lost;
  });
});
