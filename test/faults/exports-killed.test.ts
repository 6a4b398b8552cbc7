/** @file Exports that do not come to their end: the process killed, the host killed, a disk that fills up. Nothing is left beside where they would lie. */
import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Export, ExportFormat, Run } from '../../main/contract/entities.ts';
import { createApp, type App, type AppOptions } from '../../main/hosts/app.ts';
import type { Spawn } from '../../main/workers/process-host.ts';
import type { FromChild } from '../../main/workers/protocol.ts';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';

const MAIN = join(import.meta.dirname, '../../main/cli/main.ts');

describe.skipIf(process.platform === 'win32')('an export that does not come to its end', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-exports-killed-'));
  const home = join(folder, 'home');
  const out = (name: string): string => join(folder, 'out', name);
  let app: App;
  let run: Run;
  const open = (workers?: AppOptions['workers']): App =>
    createApp({ home, kind: 'command', threads: 1, ...(workers ? { workers } : {}) });

  beforeAll(async () => {
    mkdirSync(out('.'), { recursive: true });
    app = open();
    const { client } = app;
    await client.call('projects.create', { name: 'Shop' });
    const model = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' });
    await app.core.jobs.settled(model.id);
    const data = await client.call('datasets.import', { project: 'shop', paths: [await writeExamples(folder)] });
    await app.core.jobs.settled(data.id);
    const set = { maxSteps: 1, evalEvery: 0, saveEvery: 0, maxLength: 64, rank: 2 };
    run = await client.call('runs.start', { project: 'shop', model: 'tiny', strategy: 'instruct', set });
    await app.core.jobs.settled(app.core.jobs.of('train', run.id)!.id);
  }, 120_000);
  afterAll(async () => {
    await app.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const ended = async ({ id }: Export): Promise<Export> => {
    await app.core.jobs.settled(app.core.jobs.of('export', id)!.id);
    return app.client.call('exports.show', { export: id });
  };
  const begin = (format: ExportFormat, name: string): Promise<Export> =>
    app.client.call('exports.start', { run: run.id, format, out: out(name) });
  /** Files lie in the folder in which it grows. */
  const grows = async (where: string): Promise<void> => {
    const some = (): boolean =>
      existsSync(where) &&
      readdirSync(where).some((name) => name.endsWith('.exporting') && readdirSync(join(where, name)).length > 0);
    while (!some()) await wait(2);
  };

  it('because its process is killed leaves nothing, nor the folders on the way to it', async () => {
    const begun = await begin('gguf', 'new/deeper/killed');
    await grows(out('new/deeper'));
    const children = ['-P', String(process.pid), '-f', 'workers/export.ts'];
    const [pid] = execFileSync('pgrep', children, { encoding: 'utf8' }).trim().split('\n');
    process.kill(Number(pid), 'SIGKILL');
    const { state, error } = await ended(begun);
    expect([state, error!.code, readdirSync(out('.'))]).toEqual(['failed', 'WORKER_CRASHED', []]);
    // An export cannot be resumed.
    expect(error!.hint).toContain('try again');
  });

  it('because what it reports cannot be kept leaves nothing', async () => {
    const begun = await begin('gguf', 'untold');
    await grows(out('.'));
    // The next report meets a database that takes nothing.
    app.core.db.pragma('query_only = 1');
    try {
      while (readdirSync(out('.')).length > 0) await wait(5);
    } finally {
      app.core.db.pragma('query_only = 0');
    }
    expect(begun.folder).toBe(out('untold'));
    expect(existsSync(out('untold'))).toBe(false);
  });

  it('because its host is killed is cleared away at the next start', async () => {
    await app.close();
    const args = ['--home', home, '--threads', '1', 'export', run.id, '--format', 'gguf', '--out', out('power-cut')];
    const command = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore' });
    const over = once(command, 'exit');
    await grows(out('.'));
    command.kill('SIGKILL');
    await over;
    expect(readdirSync(out('.'))).toHaveLength(1);
    app = open();
    await vi.waitFor(() => expect(readdirSync(out('.'))).toEqual([]), { timeout: 10_000 });
  });

  it('because the disk takes no more says so, and leaves nothing', async () => {
    await app.close();
    // A system without a disk to fill: no file of the process may grow beyond 32 kB, which fails in the middle of one.
    const limited = join(folder, 'limited.sh');
    writeFileSync(limited, `#!/bin/sh\nulimit -f 64\nexec ${JSON.stringify(process.execPath)} "$@"\n`, { mode: 0o755 });
    const spawnLimited: Spawn = (file) => {
      const child = fork(file, [], { execPath: limited, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      return {
        pid: child.pid,
        send: (message) => void child.send(message),
        kill: () => void child.kill('SIGKILL'),
        onMessage: (listener) => void child.on('message', (message) => listener(message as FromChild)),
        onError: () => undefined,
        onExit: (listener) => void child.on('exit', listener),
      };
    };
    app = open({ spawn: spawnLimited });
    for (const format of ['safetensors', 'gguf', 'onnx'] as const) {
      const { state, error } = await ended(await begin(format, format));
      expect([format, state, error?.code]).toEqual([format, 'failed', 'DISK_FULL']);
      expect(readdirSync(out('.'))).toEqual([]);
    }
  });
});
