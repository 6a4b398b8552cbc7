/** @file Commands in several terminals on one home: Ctrl-C as a terminal sends it, a second command, a run that waits. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';

const MAIN = join(import.meta.dirname, '../../main/cli/fettle.ts');
const TRAIN = ['train', 'shop', '--model', 'tiny', '--strategy', 'instruct', '--set', 'evalEvery=0', '--json'];

describe.skipIf(process.platform === 'win32')('commands on one home', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-commands-'));
  const begun: ChildProcess[] = [];

  interface Said {
    readonly child: ChildProcess;
    /** Resolves when its output holds the text. */
    says(text: string): Promise<void>;
    readonly ended: Promise<{ code: number | null; out: string; err: string }>;
  }
  /** In a process group of its own, as a terminal starts it. */
  function fettle(...args: string[]): Said {
    const child = spawn(process.execPath, [MAIN, '--home', join(folder, 'home'), '--threads', '1', ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    begun.push(child);
    let [out, err] = ['', ''];
    child.stdout.on('data', (data) => (out += String(data)));
    child.stderr.on('data', (data) => (err += String(data)));
    return {
      child,
      async says(text) {
        while (!out.includes(text) && child.exitCode === null) await once(child.stdout, 'data');
      },
      ended: once(child, 'close').then(([code]) => ({ code: code as number | null, out, err })),
    };
  }
  const done = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await fettle(...args).ended;
    expect({ code, err }).toMatchObject({ code: 0 });
    return out;
  };
  const shown = async (run: string): Promise<{ state: string; step: number }> =>
    JSON.parse(await done('run', 'show', run, '--json')) as { state: string; step: number };

  beforeAll(async () => {
    await done('project', 'create', 'Shop');
    await done('model', 'add', await writeTinyModel(join(folder, 'tiny')), '--name', 'tiny');
    await done('data', 'import', 'shop', await writeExamples(folder));
  });
  afterAll(() => {
    for (const child of begun) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  it('Ctrl-C, which goes to every process of the group, pauses a run', async () => {
    const training = fettle(...TRAIN, '--set', 'maxSteps=100000');
    await training.says('"step":20,');
    process.kill(-training.child.pid!, 'SIGINT');
    expect(await training.ended).toMatchObject({ code: 130, err: expect.stringContaining('INTERRUPTED') as unknown });
    const run = await shown('shop-1');
    expect(run.state).toBe('paused');
    expect(run.step).toBeGreaterThanOrEqual(20);
  });

  it('a second command works through the first, which stays until that is done', async () => {
    const first = fettle(...TRAIN, '--set', 'maxSteps=200');
    await first.says('"step":1,');
    const second = fettle(...TRAIN, '--set', 'maxSteps=30');
    const [one, two] = await Promise.all([first.ended, second.ended]);
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(one.err).toContain('Another command');
    expect(two.out).toContain('"type":"result"');
    expect((await shown('shop-3')).state).toBe('completed');
  });

  it('a command whose host is killed says so', async () => {
    const first = fettle(...TRAIN, '--set', 'maxSteps=100000');
    await first.says('"step":1,');
    const second = fettle(...TRAIN, '--set', 'maxSteps=10');
    await second.says('queued');
    first.child.kill('SIGKILL');
    expect(await second.ended).toMatchObject({ code: 1, err: expect.stringContaining('HOST_UNREACHABLE') as unknown });
    await first.ended;
    expect((await shown('shop-4')).state).toBe('interrupted');
  });

  it('a run that waits is cancelled, and who follows it hears of it', async () => {
    const first = fettle(...TRAIN, '--set', 'maxSteps=100000');
    await first.says('"step":1,');
    const second = fettle(...TRAIN, '--set', 'maxSteps=10');
    await second.says('queued');
    await done('run', 'cancel', 'shop-7');
    expect((await second.ended).out).toContain('"state":"cancelled"');
    await done('run', 'cancel', 'shop-6');
    expect((await first.ended).out).toContain('"state":"cancelled"');
  });

  it('exports go on after a run and its exports were deleted', async () => {
    await done('export', 'shop-2', '--format', 'adapter', '--out', join(folder, 'a'));
    await done('export', 'shop-3', '--format', 'adapter', '--out', join(folder, 'b'));
    await done('run', 'delete', 'shop-2', '--yes');
    await done('export', 'shop-3', '--format', 'adapter', '--out', join(folder, 'c'));
  });
});
