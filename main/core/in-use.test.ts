/** @file Deleting while somebody works: refused, naming who, for everything that a job reads; and adapters that are brought in are jobs. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Job } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';
import type { Thing } from './context.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-in-use-'));
const project = 'shop';
let app: App;
let dataset: string;
/** Of run 1, which was trained here: it is brought in as one that was made elsewhere, too. */
let adapter: string;
const settled = (id: string): Promise<Job> => app.core.jobs.settled(id);
const of = (kind: Job['kind'], subject: string): Job => app.core.jobs.of(kind, subject)!;
const newest = async (): Promise<string> => (await app.client.call('datasets.list', { project }))[0]!.id;

beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop' });
  for (const name of ['tiny', 'busy'])
    await settled((await client.call('models.add', { path: await writeTinyModel(join(folder, name)), name })).id);
  await settled((await client.call('datasets.import', { project, paths: [await writeExamples(folder)] })).id);
  dataset = await newest();
  const set = { maxSteps: 2, maxLength: 64, rank: 2, evalEvery: 0, saveEvery: 0 };
  await client.call('runs.start', { project, model: 'tiny', strategy: 'instruct', set });
  expect((await settled(of('train', 'shop-1').id)).error).toBeNull();
  const { checkpoints } = await client.call('runs.show', { run: 'shop-1' });
  adapter = join(folder, 'home/projects/shop/runs/shop-1/checkpoints', checkpoints[0]!.name);
}, 120_000);
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

const free = (thing: Thing): boolean => {
  try {
    app.core.inUse.check('RUN_IN_USE', 'it', [thing]);
    return true;
  } catch {
    return false;
  }
};
const remove = (thing: 'run' | 'model' | 'dataset' | 'project'): Promise<unknown> =>
  ({
    run: () => app.client.call('runs.delete', { run: 'shop-1' }),
    model: () => app.client.call('models.delete', { model: 'tiny' }),
    dataset: () => app.client.call('datasets.delete', { project, dataset }),
    project: () => app.client.call('projects.delete', { project }),
  })[thing]();

describe('while others work, nothing that they read is deleted:', () => {
  /** Every other job waits behind it. */
  let first: string;
  beforeAll(async () => {
    const input = join(folder, 'many.jsonl');
    writeFileSync(input, Array.from({ length: 2000 }, (_, i) => `{"text":"Tell me of ${i}"}`).join('\n'));
    const sampling = { maxTokens: 100, temperature: 1 };
    first = (await app.client.call('answers.start', { project, target: 'busy', input, sampling })).job!;
  });
  afterAll(async () => {
    app.core.jobs.ask(first, 'cancel');
    await settled(first);
  });

  it.each<[string, () => Promise<Job>, readonly ('run' | 'model' | 'dataset')[]]>([
    [
      'comparing',
      async () => {
        const targets = ['shop-1', 'busy'];
        return of('compare', (await app.client.call('evaluation.compare', { project, targets, samples: 0 })).id);
      },
      ['run', 'model', 'dataset'],
    ],
    [
      'exporting',
      async () => of('export', (await app.client.call('exports.start', { run: 'shop-1', format: 'adapter' })).id),
      ['run', 'model', 'dataset'],
    ],
    [
      'answering a file',
      async () => {
        const input = join(folder, 'one.jsonl');
        writeFileSync(input, '{"text":"One"}');
        return of('answer', (await app.client.call('answers.start', { target: 'shop-1', input })).id);
      },
      ['run', 'model'],
    ],
    [
      'a pilot',
      async () => of('pilot', (await app.client.call('pilots.start', { project, model: 'tiny' })).id),
      ['model', 'dataset'],
    ],
    [
      'a learning curve',
      async () => of('curve', (await app.client.call('curves.start', { project, model: 'tiny', dataset })).id),
      ['model', 'dataset'],
    ],
    [
      'measuring the model',
      () => app.client.call('strategy.measure', { project, model: 'tiny' }),
      ['model', 'dataset'],
    ],
    [
      'a training over it',
      async () => {
        const set = { maxSteps: 2, maxLength: 64, rank: 2 };
        const over = { project, model: 'tiny', strategy: 'instruct', over: 'shop-1', set } as const;
        return of('train', (await app.client.call('runs.start', over)).id);
      },
      ['model', 'dataset'],
    ],
  ])('%s', async (_, start, reads) => {
    const job = await start();
    if (job.kind === 'train')
      await expect(app.client.call('runs.delete', { run: job.subject })).rejects.toMatchObject({ code: 'RUN_IN_USE' });
    for (const thing of reads)
      await expect(remove(thing)).rejects.toMatchObject({
        code: `${thing.toUpperCase()}_IN_USE`,
        message: expect.stringContaining(`“${job.title}”`) as unknown,
        hint: expect.stringContaining('Stop it first') as unknown,
      });
    await expect(remove('project')).rejects.toMatchObject({ code: 'PROJECT_IN_USE' });
    await app.client.call('jobs.cancel', { job: job.id });
    await settled(job.id);
    for (const thing of ['run:shop-1', 'model:tiny', `dataset:${project}/${dataset}`] as const)
      expect(free(thing)).toBe(true);
    expect(free('model:busy')).toBe(false);
    if (job.kind === 'train') await app.client.call('runs.delete', { run: job.subject });
  });

  it('a question', async () => {
    const sampling = { maxTokens: 400, temperature: 1 };
    const { id } = await app.client.call('generate.start', { target: 'shop-1', prompt: 'Talk', sampling });
    const over = new Promise<void>((resolve) => {
      app.client.subscribe(`generation:${id}`, 0, (_, { type }) => type !== 'piece' && resolve());
    });
    await expect(remove('run')).rejects.toMatchObject({
      code: 'RUN_IN_USE',
      message: expect.stringContaining('Asking Run 1') as unknown,
    });
    await expect(remove('model')).rejects.toMatchObject({ code: 'MODEL_IN_USE' });
    await app.client.call('generate.stop', { id });
    await over;
    expect([free('run:shop-1'), free('model:tiny')]).toEqual([true, true]);
  });

  it('a new version that is made of one', async () => {
    const add = [
      {
        messages: [
          { role: 'user' as const, content: 'A' },
          { role: 'assistant' as const, content: 'B' },
        ],
      },
    ];
    const job = await app.client.call('datasets.edit', { project, dataset, changes: [], add });
    await expect(remove('dataset')).rejects.toMatchObject({ code: 'DATASET_IN_USE' });
    expect((await settled(job.id)).state).toBe('completed');
    expect(free(`dataset:${project}/${dataset}`)).toBe(true);
  });

  it('another project’s work with a run of this one', async () => {
    await app.client.call('projects.create', { name: 'Other' });
    const input = join(folder, 'afar.jsonl');
    writeFileSync(input, '{"text":"One"}');
    const { job } = await app.client.call('answers.start', { project: 'other', target: 'shop-1', input });
    app.core.jobs.ask(first, 'cancel');
    await settled(first);
    await expect(remove('project')).rejects.toMatchObject({ code: 'PROJECT_IN_USE' });
    expect((await settled(job!)).state).toBe('completed');
  });
});

it('a run whose data are deleted while it is planned does not begin', async () => {
  const path = join(folder, 'more.jsonl');
  writeFileSync(
    path,
    Array.from({ length: 40 }, (_, i) => `{"question":"Lamp ${i}?","answer":"Shade ${i}."}`).join('\n'),
  );
  await settled((await app.client.call('datasets.import', { project, paths: [path] })).id);
  const id = await newest();
  const before = (await app.client.call('runs.list', { project })).length;
  const starting = app.client.call('runs.start', { project, model: 'tiny', dataset: id, set: { maxSteps: 2 } });
  const [began, deleted] = await Promise.allSettled([
    starting,
    app.client.call('datasets.delete', { project, dataset: id }),
  ]);
  expect([began.status, deleted.status]).toEqual(['rejected', 'fulfilled']);
  expect(await app.client.call('runs.list', { project })).toHaveLength(before);
});

describe('an adapter that is brought in', () => {
  const bring = (path: string): Promise<Job> =>
    app.client.call('runs.import', { project, model: 'tiny', path, name: 'Elsewhere' });
  const left = (): string[] =>
    readdirSync(join(folder, 'home/temporary')).filter((name) => name.startsWith('adapter-'));

  it.each(['waiting', 'at work'])('is a job: what it reads stays, and it can be cancelled while %s', async (when) => {
    const job = await bring(adapter);
    expect(job).toMatchObject({ kind: 'adapter', project, title: 'Bringing in Elsewhere' });
    await expect(remove('model')).rejects.toMatchObject({ code: 'MODEL_IN_USE' });
    await expect(remove('project')).rejects.toMatchObject({ code: 'PROJECT_IN_USE' });
    if (when === 'at work')
      await new Promise<void>((resolve) => {
        app.client.subscribe(
          'jobs',
          0,
          (_, event) => event.job.id === job.id && event.job.state === 'running' && resolve(),
        );
      });
    await app.client.call('jobs.cancel', { job: job.id });
    expect((await settled(job.id)).state).toBe('cancelled');
    await expect(app.client.call('runs.show', { run: job.subject })).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' });
    expect(left()).toEqual([]);
    expect(free('model:tiny')).toBe(true);
  });

  it('that fails says why and leaves nothing', async () => {
    await expect(bring(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    // A base model is no adapter.
    expect((await settled((await bring(join(folder, 'tiny'))).id)).error).toMatchObject({
      message: expect.stringContaining('adapter_config.json') as unknown,
    });
    expect(left()).toEqual([]);
  });

  it('has a number that no other is ever given', async () => {
    const numbers: number[] = [];
    for (let round = 0; round < 2; round++) {
      const [one, two] = await Promise.all([bring(adapter), bring(adapter)]);
      for (const job of [one, two]) {
        expect((await settled(job.id)).error).toBeNull();
        const run = await app.client.call('runs.show', { run: job.subject });
        expect(run).toMatchObject({ state: 'completed', imported: { name: 'Elsewhere', rank: 2 } });
        numbers.push(run.number);
        await app.client.call('runs.delete', { run: run.id });
        expect(existsSync(join(folder, 'home/projects/shop/runs', run.id))).toBe(false);
      }
    }
    expect(new Set(numbers).size).toBe(4);
  });
});
