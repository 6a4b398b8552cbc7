/** @file Runs that begin with something unusual: an adapter, a base that was made before, and questions that fill the context. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Dataset, Run } from '../contract/entities.ts';
import { openSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import { createApp, type App } from '../hosts/app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-start-'));
const set = { maxSteps: 2, maxLength: 64, rank: 2, targetModules: 'q_proj,v_proj', evalEvery: 1, saveEvery: 0 };
let app: App;
let dataset: string;

const bring = async (path: string): Promise<string> => {
  await app.core.jobs.settled((await app.client.call('datasets.import', { project: 'shop', paths: [path] })).id);
  return ((await app.client.call('datasets.list', { project: 'shop' })) as Dataset[])[0]!.id;
};
const run = async (data: string, more: Record<string, unknown> = {}): Promise<Run> => {
  const request = { project: 'shop', model: 'tiny', dataset: data, strategy: 'instruct' } as const;
  const { id } = await app.client.call('runs.start', { ...request, set: { ...set, ...more } });
  await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
  return app.client.call('runs.show', { run: id });
};

beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  await app.client.call('projects.create', { name: 'Shop' });
  const added = await app.client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' });
  await app.core.jobs.settled(added.id);
  dataset = await bring(await writeExamples(folder));
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

it('a question that leaves no room for an answer is not answered while the model learns, and the run goes on', async () => {
  const path = join(folder, 'long.jsonl');
  const row = (i: number): string => JSON.stringify({ question: `${i} ${'so '.repeat(200)}`, answer: `Answer ${i}` });
  writeFileSync(path, Array.from({ length: 20 }, (_, i) => row(i)).join('\n'));
  const { state, error } = await run(await bring(path), { lossOn: 'all' });
  expect({ state, error }).toMatchObject({ state: 'completed', error: null });
});

describe('a run that starts from an adapter', () => {
  let adapter: string;
  beforeAll(async () => {
    const { id, checkpoints } = await run(dataset);
    adapter = join(folder, 'home/projects/shop/runs', id, 'checkpoints', checkpoints[0]!.name);
  });
  const plan = (more: Record<string, unknown>): Promise<unknown> =>
    app.client.call('runs.plan', {
      project: 'shop',
      model: 'tiny',
      dataset,
      strategy: 'instruct',
      set: { initAdapter: adapter, ...more },
    });
  /** The same adapter, said to be otherwise. */
  const changed = (change: (config: Record<string, unknown>) => void): string => {
    const copy = mkdtempSync(join(folder, 'adapter-'));
    const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    change(config);
    writeFileSync(join(copy, 'adapter_config.json'), JSON.stringify(config));
    writeFileSync(join(copy, 'adapter_model.safetensors'), readFileSync(join(adapter, 'adapter_model.safetensors')));
    return copy;
  };

  it('goes on in its rank and on its modules, in whatever order they are named', async () => {
    const { recipe, state } = await run(dataset, { initAdapter: adapter, targetModules: 'v_proj,q_proj' });
    expect({ state, rank: recipe?.rank, on: [...recipe!.targetModules].sort() }).toEqual({
      state: 'completed',
      rank: 2,
      on: ['q_proj', 'v_proj'],
    });
  });

  it('learns in the layers that the adapter leaves out, too', async () => {
    const copy = changed(() => undefined);
    const whole = await openSafetensors(join(adapter, 'adapter_model.safetensors'));
    const some = whole.names.filter((name) => !name.includes('.layers.1.'));
    await writeSafetensors(
      join(copy, 'adapter_model.safetensors'),
      some.map((name) => ({ name, shape: whole.info(name).shape, data: () => whole.read(name) })),
    );
    const { names } = whole;
    await whole.close();
    expect(some.length).toBeLessThan(names.length);
    const { id, checkpoints } = await run(dataset, { initAdapter: copy });
    const folderOf = join(folder, 'home/projects/shop/runs', id, 'checkpoints', checkpoints.at(-1)!.name);
    const learned = await openSafetensors(join(folderOf, 'adapter_model.safetensors'));
    for (const name of names.filter((each) => each.includes('.layers.1.')))
      expect((await learned.read(name)).some((value) => value !== 0)).toBe(true);
    await learned.close();
  });

  it.each([
    ['rank', { rank: 8 }],
    ['targetModules', { targetModules: 'q_proj,k_proj' }],
    ['modulesToSave', { modulesToSave: 'embed_tokens' }],
    ['useDora', { useDora: true }],
  ])('is refused where it is told otherwise: %s', async (key, more) => {
    await expect(plan(more)).rejects.toMatchObject({
      code: 'RECIPE_INVALID',
      message: expect.stringContaining(`${key} is`) as unknown,
    });
  });

  it('is refused before it begins where the adapter does not fit', async () => {
    await expect(plan({ initAdapter: changed((config) => (config['r'] = 600)) })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('does not fit this model') as unknown,
    });
    await expect(plan({ initAdapter: join(folder, 'nowhere') })).rejects.toMatchObject({ code: 'RECIPE_INVALID' });
  });
});

describe('a base in 8 bits', () => {
  const prepared = join(folder, 'home/prepared');
  const stages = (id: string): string[] =>
    app.core.db
      .prepare<[string], { stage: string }>(
        "SELECT json_extract(event, '$.stage') AS stage FROM run_event WHERE run = ? AND type = 'state' ORDER BY seq",
      )
      .all(id)
      .map(({ stage }) => stage);
  const MADE = ['Measuring what int8 must know of this model', 'Rounding the model to 8 bits'];

  it('is made by the first run on its data and found by the next, which learns the same to the last bit', async () => {
    const first = await run(dataset, { precision: 'int8' });
    const second = await run(dataset, { precision: 'int8' });
    expect([first.state, second.state]).toEqual(['completed', 'completed']);
    expect(stages(first.id)).toEqual(expect.arrayContaining(MADE));
    for (const stage of MADE) expect(stages(second.id)).not.toContain(stage);
    expect([second.heldOutLossStart, second.heldOutLoss]).toEqual([first.heldOutLossStart, first.heldOutLoss]);
    const other = join(folder, 'other.jsonl');
    const row = (i: number): string =>
      JSON.stringify({ question: `Which wheel is number ${i}?`, answer: `Wheel ${i}` });
    writeFileSync(other, Array.from({ length: 20 }, (_, i) => row(i)).join('\n'));
    expect(stages((await run(await bring(other), { precision: 'int8' })).id)).toEqual(expect.arrayContaining(MADE));
  });

  it('is deleted with its model', async () => {
    const again = await app.client.call('models.add', { path: join(folder, 'tiny'), name: 'again' });
    await app.core.jobs.settled(again.id);
    const { id } = await app.client.call('runs.start', {
      project: 'shop',
      model: 'again',
      dataset,
      strategy: 'instruct',
      set: { ...set, precision: 'int4' },
    });
    await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
    expect(readdirSync(prepared).sort()).toEqual(['again', 'tiny']);
    await app.client.call('models.delete', { model: 'again' });
    expect(readdirSync(prepared)).toEqual(['tiny']);
  });
});
