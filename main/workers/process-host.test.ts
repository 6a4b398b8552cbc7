/** @file The process host with real child processes that answer, fail, crash, hang and spin. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Log, WorkerHandle } from '../core/context.ts';
import { childEnv, createProcessHost, type ProcessHost } from './process-host.ts';

const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const fixture = join(import.meta.dirname, '../../test/fixtures/workers/child.ts');
const hosts: ProcessHost[] = [];
afterEach(() => hosts.splice(0).forEach((host) => host.close()));

function start(what: string, limits = {}): { handle: WorkerHandle<string>; events: string[] } {
  const host = createProcessHost({ log: silent, entry: () => fixture, limits });
  hosts.push(host);
  const events: string[] = [];
  return { handle: host.run<string, string>('data', { what }, (event) => events.push(event)), events };
}
const gone = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
};

describe('a child process', () => {
  it('gets its job and messages, tells events, and gives a result', async () => {
    const { handle, events } = start('echo');
    handle.send('hello');
    expect(await handle.result).toBe('heard hello');
    expect(events).toEqual(['doing echo']);
  });

  it('reports what it failed with, by meaning', async () => {
    await expect(start('fail').handle.result).rejects.toMatchObject({ code: 'DISK_FULL' });
  });

  it('that crashes is told of, with the end of what it said', async () => {
    await expect(start('crash').handle.result).rejects.toMatchObject({
      code: 'WORKER_CRASHED',
      details: { errors: 'the reason of the crash' },
    });
  });

  it('that is killed from outside is told of', async () => {
    const { handle } = start('wait');
    await wait(300);
    process.kill(handle.pid!, 'SIGKILL');
    await expect(handle.result).rejects.toMatchObject({ code: 'WORKER_CRASHED', details: { signal: 'SIGKILL' } });
  });

  it('ends as it is asked', async () => {
    const { handle } = start('wait');
    handle.ask('stop');
    expect(await handle.result).toBe('asked to stop');
  });

  it('that does not end when asked is killed', async () => {
    const { handle } = start('hang', { cancelGrace: 100 });
    await wait(300);
    handle.ask('cancel');
    await expect(handle.result).rejects.toMatchObject({ code: 'WORKER_TIMEOUT' });
    await wait(50);
    expect(gone(handle.pid!)).toBe(true);
  });

  it('that gives no sign of life is killed', async () => {
    await expect(start('spin', { silence: 600 }).handle.result).rejects.toMatchObject({ code: 'WORKER_TIMEOUT' });
  });

  it('ends when its host is gone', async () => {
    const child = fork(fixture, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    await new Promise((resolve) => child.once('message', resolve));
    child.send({ type: 'start', job: { what: 'hang' } });
    child.disconnect();
    await new Promise((resolve) => child.once('exit', resolve));
    expect(gone(child.pid!)).toBe(true);
  });
});

describe('the environment of a child', () => {
  it('says how memory is given, and leaves what a person has tuned besides', () => {
    const own = { HOME: '/home/x', GLIBC_TUNABLES: 'glibc.cpu.x86_ibt=off:glibc.malloc.tcache_count=7' };
    const { GLIBC_TUNABLES: tunables = '', ...rest } = childEnv(own);
    // The last one of a name counts.
    expect(tunables.split(':')).toEqual([
      'glibc.cpu.x86_ibt=off',
      'glibc.malloc.tcache_count=7',
      'glibc.malloc.tcache_count=0',
      'glibc.malloc.mxfast=0',
    ]);
    expect(rest).toMatchObject({ HOME: '/home/x', MALLOC_ARENA_MAX: '1' });
    expect(childEnv(childEnv(own))).toEqual(childEnv(own));
  });
});
