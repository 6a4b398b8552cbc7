/** @file The desktop shell's parts with stand-ins for Electron, and the packaging's configuration against electron-builder's own schema. */
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IpcMain } from 'electron';
import { afterAll, describe, expect, it } from 'vitest';
import type { Events } from '../../core/context.ts';
import { connectWindow, fromOurPage, pickOptions } from './ipc.ts';
import { resolveRequest } from './scheme.ts';
import { utilitySpawn } from './spawn.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-electron-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const frame = (url: string, parent: unknown = null): never => ({ senderFrame: { url, parent } }) as never;

describe('who may speak to the host', () => {
  it('the top frame of our own page and nobody else', () => {
    expect(fromOurPage(frame('app://fettle/index.html'))).toBe(true);
    expect(fromOurPage(frame('https://evil.example/'))).toBe(false);
    expect(fromOurPage(frame('app://fettle.evil/'))).toBe(false);
    expect(fromOurPage(frame('app://fettle/index.html', {}))).toBe(false);
  });

  it('calls are answered, events are told, and a stranger is refused', async () => {
    const handlers = new Map<string, (event: unknown, message: unknown) => unknown>();
    const ipc = {
      handle: (name: string, f: never) => handlers.set(name, f),
      on: (name: string, f: never) => handlers.set(name, f),
    };
    let listener: ((seq: number, event: unknown) => void) | undefined;
    const events = {
      subscribe: (_: string, __: number, f: typeof listener) => ((listener = f), () => (listener = undefined)),
    } as unknown as Events;
    connectWindow(ipc as unknown as IpcMain, { dispatch: (name) => Promise.resolve({ ok: true, data: name }), events });
    const sent: unknown[] = [];
    const own = {
      senderFrame: { url: 'app://fettle/index.html', parent: null },
      sender: { id: 1, isDestroyed: () => false, send: (...args: unknown[]) => sent.push(args) },
    };

    expect(await handlers.get('fettle:call')!(own, { id: 0, call: { name: 'app.info', input: {} } })).toEqual({
      ok: true,
      data: 'app.info',
    });
    expect(
      await handlers.get('fettle:call')!(frame('https://evil.example/'), {
        id: 0,
        call: { name: 'app.info', input: {} },
      }),
    ).toMatchObject({ ok: false });
    handlers.get('fettle:subscription')!(own, { id: 3, subscribe: { topic: 'jobs', after: 0 } });
    listener!(1, 'hello');
    expect(sent).toEqual([['fettle:event', { id: 3, event: { seq: 1, event: 'hello' } }]]);
    handlers.get('fettle:subscription')!(own, { id: 3, unsubscribe: true });
    expect(listener).toBeUndefined();
  });
});

describe('app://', () => {
  it('gives files of the workbench and nothing outside', async () => {
    mkdirSync(join(folder, 'site'));
    writeFileSync(join(folder, 'site/index.html'), '');
    writeFileSync(join(folder, 'secret.txt'), '');
    const at = (address: string): Promise<string | null> => resolveRequest(join(folder, 'site'), address);
    expect(await at('app://fettle/index.html')).toMatch(/^file:.*index\.html$/);
    expect(await at('app://fettle/p/anything')).toMatch(/index\.html$/);
    expect(await at('app://fettle/..%2fsecret.txt')).toBeNull();
    expect(await at('app://other/index.html')).toBeNull();
  });
});

describe('child processes by utilityProcess', () => {
  it('speak as forked ones do', () => {
    const child = Object.assign(new EventEmitter(), {
      pid: 7,
      stderr: new EventEmitter(),
      sent: [] as unknown[],
      killed: false,
      postMessage(message: unknown) {
        this.sent.push(message);
      },
      kill() {
        return (this.killed = true);
      },
    });
    const spawned = utilitySpawn(() => child as never)('train.js');
    const heard: unknown[] = [];
    spawned.onMessage((message) => heard.push(message));
    spawned.onError((text) => heard.push(text));
    spawned.onExit((code) => heard.push(code));
    spawned.send({ type: 'ask', ask: 'stop' });
    child.emit('message', { type: 'ready' });
    child.stderr.emit('data', Buffer.from('oh'));
    child.emit('exit', 1);
    spawned.kill();
    expect(heard).toEqual([{ type: 'ready' }, 'oh', 1]);
    expect(child).toMatchObject({ sent: [{ type: 'ask', ask: 'stop' }], killed: true });
  });
});

describe('packaging', () => {
  it('has a configuration that electron-builder’s schema accepts', async () => {
    const require = createRequire(createRequire(import.meta.url).resolve('electron-builder'));
    const { validateConfiguration } = require('app-builder-lib/out/util/config/config') as {
      validateConfiguration(config: unknown, log: unknown): Promise<void>;
    };
    const { load } = createRequire(require.resolve('app-builder-lib/out/util/config/load'))('js-yaml') as {
      load(text: string): Record<string, unknown>;
    };
    const text = readFileSync(join(import.meta.dirname, '../../../electron-builder.yml'), 'utf8');
    const log = { isEnabled: false };
    await expect(validateConfiguration(load(text), log)).resolves.toBeUndefined();
    await expect(validateConfiguration({ ...load(text), linux: { targt: 'deb' } }, log)).rejects.toThrow(
      /configuration\.linux/,
    );
  });

  it('opens only what a purpose asks for', () => {
    expect(pickOptions('folder').properties).toContain('openDirectory');
    expect(pickOptions('data').properties).toContain('multiSelections');
  });
});
