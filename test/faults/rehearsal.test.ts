/** @file A base model without a chat template, in stages, with rehearsal: killed and resumed to the same bits, measured on its own rows alone, exported with the form it was taught. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InputOf } from '../../main/contract/api.ts';
import type { Export, Run } from '../../main/contract/entities.ts';
import { createApp, type App } from '../../main/hosts/app.ts';
import { writeExamples, writeFileOf } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';

const SET = {
  maxSteps: 24,
  evalEvery: 4,
  saveEvery: 2,
  keepCheckpoints: 30,
  batchSize: 1,
  maxLength: 128,
  // What is compared later is the model in fp32.
  precision: 'fp32',
  rank: 4,
  learningRate: 5e-3,
  earlyStopping: 0,
};

describe.skipIf(process.platform === 'win32')('a base model that rehearses', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-rehearsing-'));
  let app: App;
  let first: Run;
  let second: Run;
  let request: InputOf<'runs.start'>;

  const jobDone = async (job: string): Promise<void> => {
    expect(await app.core.jobs.settled(job)).toMatchObject({ state: 'completed', error: null });
  };
  const ended = async (run: string): Promise<Run> => {
    await app.core.jobs.settled(app.core.jobs.of('train', run)!.id);
    // What belongs to the end is told right after it.
    await wait(50);
    return app.client.call('runs.show', { run });
  };
  const reached = (run: Run, step: number): Promise<void> =>
    new Promise((resolve) => {
      const stop = app.client.subscribe(`run:${run.id}`, 0, (_, event) => {
        if (event.type !== 'step' || event.step < step) return;
        setImmediate(() => stop());
        resolve();
      });
    });
  const weights = (run: Run): string => {
    const last = run.checkpoints.find((checkpoint) => checkpoint.last)!;
    const file = join(app.core.home.run(run.project, run.id), 'checkpoints', last.name, 'adapter_model.safetensors');
    return createHash('sha256').update(readFileSync(file)).digest('hex');
  };
  const exported = async (input: InputOf<'exports.start'>): Promise<Export> => {
    const { id } = await app.client.call('exports.start', input);
    await jobDone(app.core.jobs.of('export', id)!.id);
    return app.client.call('exports.show', { export: id });
  };
  const template = (made: Export): unknown =>
    (JSON.parse(readFileSync(join(made.folder, 'tokenizer_config.json'), 'utf8')) as Record<string, unknown>)[
      'chat_template'
    ];

  beforeAll(async () => {
    app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 2 });
    const { client } = app;
    const project = (await client.call('projects.create', { name: 'Rehearse' })).slug;
    const documents = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        writeFileOf(
          folder,
          `notes-${i}.txt`,
          `Notes ${i}\n\n${`Kettle ${i} came back. The spring was bent. `.repeat(5)}`,
        ),
      ),
    );
    for (const paths of [documents, [await writeExamples(folder)]])
      await jobDone((await client.call('datasets.import', { project, paths })).id);
    const model = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny'), { base: true }) });
    await jobDone(model.id);
    request = { project, model: model.subject, set: { ...SET, rehearsal: 0.2 } };
    first = await ended((await client.call('runs.start', { ...request, strategy: 'non-instruct', set: SET })).id);
    second = await ended((await client.call('runs.start', { ...request, strategy: 'instruct', over: first.id })).id);
  });
  afterAll(async () => {
    await app.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is planned with the guard of its template, and trains', async () => {
    const plan = await app.client.call('runs.plan', { ...request, strategy: 'instruct' });
    expect(plan.guards.map(({ what }) => what)).toEqual(['A model without a chat template learns to answer']);
    expect(first.state).toBe('completed');
    expect(second).toMatchObject({ state: 'completed', over: { run: first.id } });
    expect(second.best!.loss).toBeLessThan(second.heldOutLossStart!);
  });

  it('says how much it rehearses, and measures none of it', async () => {
    const { events } = await app.client.call('runs.events', { run: second.id });
    expect(events.map(({ event }) => (event.type === 'state' ? event.stage : ''))).toContainEqual(
      expect.stringMatching(/tokens of a pass are general data/),
    );
    const { id } = await app.client.call('evaluation.compare', {
      project: second.project,
      targets: [`${second.id}@${second.checkpoints[0]!.name}`, `${first.id}@${second.over!.checkpoint!}`],
      dataset: second.dataset!,
      samples: 1,
    });
    await jobDone(app.core.jobs.of('compare', id)!.id);
    const { result } = await app.client.call('evaluation.show', { comparison: id });
    expect(second.checkpoints[0]!.step).toBe(0);
    // At step 0 it is the model of the stage before, on held-out rows alone.
    const [own, before] = result!.losses.map(({ loss }) => loss.value) as [number, number];
    expect(Math.abs(own - before)).toBeLessThan(1e-5);
    const { heldOutRows } = await app.client.call('datasets.show', {
      project: second.project,
      dataset: second.dataset!,
    });
    expect(result!.heldOutRows).toBe(heldOutRows);
  });

  it('ends with the same bits when it is killed and goes on', async () => {
    const again = await app.client.call('runs.start', {
      ...request,
      strategy: 'instruct',
      over: `${first.id}@${second.over!.checkpoint!}`,
    });
    await reached(again, 7);
    const [pid] = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'workers/train.ts'], { encoding: 'utf8' })
      .trim()
      .split('\n');
    process.kill(Number(pid), 'SIGKILL');
    expect((await ended(again.id)).state).toBe('interrupted');
    await app.client.call('runs.resume', { run: again.id });
    expect(weights(await ended(again.id))).toBe(weights(second));
  });

  it('stands on a checkpoint that stays, whatever becomes of the run under it', async () => {
    const start = { ...request, strategy: 'non-instruct', set: { ...SET, maxSteps: 60, keepCheckpoints: 0 } } as const;
    const below = await app.client.call('runs.start', start);
    await reached(below, 9);
    const over = { ...request, strategy: 'instruct', set: { ...SET, maxSteps: 2 } } as const;
    // At work, only its best can be waited for.
    const named = below.checkpoints[0]?.name ?? 'step-000000';
    await expect(app.client.call('runs.start', { ...over, over: `${below.id}@${named}` })).rejects.toMatchObject({
      code: 'RUN_STATE',
    });
    const waiting = await app.client.call('runs.start', { ...over, over: below.id });
    expect(waiting.over).toEqual({ run: below.id, checkpoint: null });
    await app.client.call('runs.cancel', { run: waiting.id });
    await app.client.call('runs.pause', { run: below.id });
    const paused = await ended(below.id);
    const kept = paused.checkpoints.at(-1)!.name;
    const above = await ended((await app.client.call('runs.start', { ...over, over: `${below.id}@${kept}` })).id);
    expect(above).toMatchObject({ state: 'completed', over: { checkpoint: kept } });
    await app.client.call('runs.resume', { run: below.id });
    const done = await ended(below.id);
    expect(done).toMatchObject({ state: 'completed', step: 60 });
    expect(done.checkpoints.map(({ name }) => name)).toContain(kept);
    const { slug } = await app.client.call('projects.create', { name: 'Elsewhere' });
    await expect(app.client.call('runs.start', { ...over, project: slug, over: below.id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
  });

  it('is asked in a conversation, and takes its form along', async () => {
    const { id } = await app.client.call('generate.start', {
      target: second.id,
      prompt: 'Ana writes.',
      sampling: { maxTokens: 4 },
    });
    await new Promise<void>((resolve, reject) => {
      app.client.subscribe(`generation:${id}`, 0, (_, event) => {
        if (event.type === 'done') resolve();
        if (event.type === 'error') reject(new Error(event.error.message));
      });
    });
    for (const input of [
      { format: 'adapter' },
      { format: 'adapter', alone: true },
      { format: 'safetensors' },
    ] as const) {
      const made = await exported({ run: second.id, ...input });
      expect(made.proof).toMatchObject({ verdict: 'equal' });
      expect(template(made)).toContain('### Answer');
    }
    // Text alone teaches no form of conversation.
    const merged = await exported({ run: first.id, format: 'safetensors' });
    expect(template(merged)).toBeUndefined();
  });
});
