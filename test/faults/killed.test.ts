/** @file A training process that is killed in mid-run: the run shows as interrupted, resumes, and ends with the same weights, bit for bit, as one that was never killed. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InputOf } from '../../main/contract/api.ts';
import type { Run } from '../../main/contract/entities.ts';
import type { TrainEvent } from '../../main/contract/training.ts';
import { createApp, type App } from '../../main/hosts/app.ts';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';

const SET = {
  maxSteps: 40,
  evalEvery: 10,
  saveEvery: 5,
  keepCheckpoints: 2,
  batchSize: 2,
  maxLength: 128,
  earlyStopping: 0,
  precision: 'fp32',
};

describe.skipIf(process.platform === 'win32')('a run whose process is killed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-killed-'));
  let app: App;
  let request: InputOf<'runs.start'>;

  beforeAll(async () => {
    app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 2 });
    const { client } = app;
    const project = await client.call('projects.create', { name: 'Kill' });
    const brought = await client.call('datasets.import', {
      project: project.slug,
      paths: [await writeExamples(folder)],
    });
    expect((await app.core.jobs.settled(brought.id)).state).toBe('completed');
    const job = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')) });
    expect((await app.core.jobs.settled(job.id)).state).toBe('completed');
    request = { project: project.slug, model: job.subject, strategy: 'instruct', set: SET };
  });
  afterAll(async () => {
    await app.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const settled = async (run: Run): Promise<Run> => {
    const job = app.core.jobs.of('train', run.id);
    await app.core.jobs.settled(job!.id);
    // What belongs to the end is told right after it.
    await wait(50);
    return app.client.call('runs.show', { run: run.id });
  };
  const events = async (run: Run): Promise<TrainEvent[]> =>
    (await app.client.call('runs.events', { run: run.id, limit: 20000 })).events.map(({ event }) => event);
  const weights = (run: Run): string => {
    const last = run.checkpoints.find((checkpoint) => checkpoint.last)!;
    const file = join(app.core.home.run(run.project, run.id), 'checkpoints', last.name, 'adapter_model.safetensors');
    return createHash('sha256').update(readFileSync(file)).digest('hex');
  };
  const kill = (): void => {
    const [pid] = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'workers/train.ts'], { encoding: 'utf8' })
      .trim()
      .split('\n');
    process.kill(Number(pid), 'SIGKILL');
  };
  const reached = (run: Run, step: number): Promise<void> =>
    new Promise((resolve) => {
      const stop = app.client.subscribe(`run:${run.id}`, 0, (_, event) => {
        if (event.type !== 'step' || event.step < step) return;
        setImmediate(() => stop());
        resolve();
      });
    });

  it('is interrupted, resumes, and ends as if nothing had happened', async () => {
    const undisturbed = await settled(await app.client.call('runs.start', request));
    expect(undisturbed).toMatchObject({ state: 'completed', step: SET.maxSteps });

    const begun = await app.client.call('runs.start', request);
    for (const step of [8, 23]) {
      await reached(begun, step);
      kill();
      const killed = await settled(begun);
      expect(killed.state).toBe('interrupted');
      expect(killed.error).toMatchObject({ code: 'INTERRUPTED', hint: expect.stringContaining('Resume') as unknown });
      await app.client.call('runs.resume', { run: begun.id });
    }
    const resumed = await settled(begun);
    expect(resumed).toMatchObject({ state: 'completed', step: SET.maxSteps, tokens: undisturbed.tokens });
    expect(weights(resumed)).toBe(weights(undisturbed));

    // The curve has each step once, as if it had never stopped, with the same losses.
    const curve = (list: readonly TrainEvent[]): (readonly [number, number])[] =>
      list.flatMap((event) => (event.type === 'step' ? [[event.step, event.loss] as const] : []));
    expect(curve(await events(resumed))).toEqual(curve(await events(undisturbed)));
  });

  it.each(['fp16', 'int8', 'int4'])('ends with the same bits where the base is kept in %s', async (precision) => {
    const fewer = { ...request, set: { ...SET, precision, maxSteps: 12 } };
    const undisturbed = await settled(await app.client.call('runs.start', fewer));
    expect(undisturbed).toMatchObject({ state: 'completed', recipe: { precision } });
    const begun = await app.client.call('runs.start', fewer);
    await reached(begun, 7);
    kill();
    expect((await settled(begun)).state).toBe('interrupted');
    await app.client.call('runs.resume', { run: begun.id });
    expect(weights(await settled(begun))).toBe(weights(undisturbed));
  });

  it('pauses, is resumed, and ends as if nothing had happened', async () => {
    const begun = await app.client.call('runs.start', request);
    await reached(begun, 12);
    await app.client.call('runs.pause', { run: begun.id });
    const paused = await settled(begun);
    expect(paused.state).toBe('paused');
    await app.client.call('runs.resume', { run: begun.id });
    const undisturbed = await app.client.call('runs.show', { run: `${begun.project}-1` });
    expect(weights(await settled(begun))).toBe(weights(undisturbed));
  });

  it('goes on when it had finished, and can be cloned with changes', async () => {
    const first = await app.client.call('runs.show', { run: `${request.project}-1` });
    const longer = await settled(await app.client.call('runs.continue', { run: first.id, steps: 10 }));
    expect(longer).toMatchObject({ state: 'completed', step: SET.maxSteps + 10 });
    const clone = await settled(await app.client.call('runs.clone', { run: first.id, set: { maxSteps: 6, rank: 4 } }));
    expect(clone).toMatchObject({ state: 'completed', step: 6, clonedFrom: first.id, recipe: { rank: 4 } });
  });
});
