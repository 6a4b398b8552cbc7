/** @file Both stages as one plan: the second stands on the first, nothing is counted twice, and what is exported is what was trained. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { Export, Run } from '../contract/entities.ts';
import { createApp, type App } from '../hosts/app.ts';
import { readAdapter } from '../formats/peft.ts';
import { loadModel, withAdapter } from '../workers/load.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-staged-'));
let app: App;
let model: string;
const set = {
  maxSteps: 12,
  evalEvery: 6,
  saveEvery: 6,
  // As long as what is compared: all that the model reads.
  maxLength: 512,
  // What is compared later is the model in fp32.
  precision: 'fp32',
  batchSize: 2,
  learningRate: 0.02,
  rank: 4,
  alpha: 8,
};

const settled = async (run: Run): Promise<Run> => {
  await app.core.jobs.settled(app.core.jobs.of('train', run.id)!.id);
  await new Promise((resolve) => setTimeout(resolve, 50));
  return app.client.call('runs.show', { run: run.id });
};
const exported = async (request: {
  run: string;
  format: Export['format'];
  alone?: boolean;
  out: string;
}): Promise<Export> => {
  const { id } = await app.client.call('exports.start', request);
  await app.core.jobs.settled(app.core.jobs.of('export', id)!.id);
  return app.client.call('exports.show', { export: id });
};
const logits = async (path: string, adapter: string | null, under: readonly string[] = []): Promise<Float32Array> => {
  const { base, close } = await loadModel(path, 1, under);
  try {
    return await (await withAdapter(base, adapter)).logits(Int32Array.from([5, 9, 40, 77, 101, 13, 60]));
  } finally {
    await close();
  }
};
const farthest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop' });
  model = await writeTinyModel(join(folder, 'tiny'));
  const added = await client.call('models.add', { path: model, name: 'tiny' });
  await app.core.jobs.settled(added.id);
  const book = join(folder, 'book');
  mkdirSync(book);
  for (let i = 0; i < 6; i++)
    writeFileSync(
      join(book, `${i}.md`),
      Array.from({ length: 30 }, (_, k) => `Part ${i}, line ${k * 7}: the bell of wheel ${k * i} is oiled.`).join(
        '\n\n',
      ),
    );
  for (const path of [book, await writeExamples(folder)])
    await app.core.jobs.settled((await client.call('datasets.import', { project: 'shop', paths: [path] })).id);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('both stages', () => {
  let first: Run;
  let second: Run;

  it('train one after the other, the second over the best of the first', async () => {
    const stages = { instruct: { rank: 4, alpha: 4 }, 'non-instruct': { weightDecay: 0.03 } };
    first = await app.client.call('runs.start', { project: 'shop', model: 'tiny', strategy: 'staged', set, stages });
    expect(first.strategy).toBe('non-instruct');
    const waiting = (await app.client.call('runs.list', { project: 'shop' })).find(
      (run) => run.over?.run === first.id,
    )!;
    // Each stage has values of its own beside those of both.
    expect(first.recipe).toMatchObject({ rank: set.rank, weightDecay: 0.03 });
    expect(waiting.recipe).toMatchObject({ rank: 4, alpha: 4 });
    expect(waiting).toMatchObject({ strategy: 'instruct', state: 'queued', over: { checkpoint: null } });
    first = await settled(first);
    second = await settled(waiting);
    expect([first.state, second.state, second.error]).toEqual(['completed', 'completed', null]);
    const best = first.checkpoints.find((checkpoint) => checkpoint.best) ?? first.checkpoints.at(-1)!;
    expect(second.over).toEqual({ run: first.id, checkpoint: best.name });
    // It begins where the first ended: on its own data, with the first one merged in.
    expect(second.heldOutLossStart).not.toBeNull();
  });

  it('are chosen like any other way, and a run keeps the choice that was made for it', async () => {
    const { call } = app.client;
    const choice = await call('strategy.choose', { project: 'shop', strategy: 'staged', reason: 'Both matter' });
    const shown = await call('projects.show', { project: 'shop' });
    expect(shown.choice).toEqual(choice);
    expect(shown.path[0]).toMatchObject({ id: 'goal', note: 'Both, in stages', state: 'done' });
    expect(await call('projects.list', {})).toHaveLength(1);
    expect(choice.overruled).toBe(choice.advised !== 'staged');
    // Started as staged before anything was chosen: that was the choice.
    for (const run of [first, second]) expect(run.choice).toMatchObject({ strategy: 'staged', reason: '' });
    const other = await call('runs.start', { project: 'shop', model: 'tiny', strategy: 'instruct', set });
    expect(other.choice).toMatchObject({ strategy: 'instruct', overruled: other.advice!.strategy !== 'instruct' });
    await call('runs.cancel', { run: other.id });
    await settled(other);
    await call('runs.delete', { run: other.id });
  });

  it('are the same as one adapter, as merged weights, and stage on stage', async () => {
    const out = (name: string): string => join(folder, name);
    const both = await exported({ run: second.id, format: 'adapter', out: out('both') });
    const merged = await exported({ run: second.id, format: 'safetensors', out: out('merged') });
    const alone = await exported({ run: second.id, format: 'adapter', alone: true, out: out('alone') });
    const stage = await exported({ run: first.id, format: 'adapter', out: out('first') });
    for (const made of [both, merged, alone, stage]) expect([made.error, made.proof?.verdict]).toEqual([null, 'equal']);
    // One stage alone is not to be put on the plain base, by nobody.
    const told = [...alone.howTo.map(({ lines }) => lines), readFileSync(join(out('alone'), 'README.md'), 'utf8')];
    for (const text of told) {
      expect(text).toContain(`fettle export ${first.id} --checkpoint ${second.over!.checkpoint!}`);
      expect(text).not.toMatch(/from_pretrained\("tiny"\)|vllm serve tiny|the base: tiny/);
    }
    expect(both.howTo[0]!.lines).toContain('from_pretrained("tiny")');
    const truth = await logits(model, out('alone'), [out('first')]);
    expect(farthest(truth, await logits(model, out('both')))).toBeLessThan(1e-4);
    expect(farthest(truth, await logits(out('merged'), null))).toBeLessThan(1e-4);
    // Nothing is counted twice: each part makes a difference of its own, and leaving one out is seen.
    for (const without of [
      await logits(model, null),
      await logits(model, out('first')),
      await logits(model, out('alone')),
    ])
      expect(farthest(truth, without)).toBeGreaterThan(1e-2);
    const adapter = await readAdapter(out('both'));
    expect(adapter.lora).toMatchObject({ rank: 8, alpha: 8 });
    await adapter.close();
  });

  it('are asked and compared as what they are', async () => {
    const { id } = await app.client.call('evaluation.compare', {
      project: 'shop',
      targets: ['tiny', first.id, second.id],
      dataset: second.dataset!,
      samples: 1,
    });
    await app.core.jobs.settled(app.core.jobs.of('compare', id)!.id);
    const { result } = await app.client.call('evaluation.show', { comparison: id });
    const best = second.best!.loss;
    expect(result?.losses.find(({ target }) => target === second.id)?.loss.value).toBeCloseTo(best, 3);
  });

  it('a stage that another stands on stays; the last can be taken back', async () => {
    const refused = { code: 'RUN_STATE' };
    await expect(app.client.call('runs.delete', { run: first.id })).rejects.toMatchObject(refused);
    await expect(app.client.call('runs.continue', { run: first.id, steps: 2 })).rejects.toMatchObject(refused);
    const again = await settled(
      await app.client.call('runs.start', {
        project: 'shop',
        model: 'tiny',
        strategy: 'instruct',
        over: `${first.id}@${first.checkpoints[0]!.name}`,
        set,
      }),
    );
    expect(again).toMatchObject({
      state: 'completed',
      over: { run: first.id, checkpoint: first.checkpoints[0]!.name },
    });
    await app.client.call('runs.delete', { run: again.id });
    await app.client.call('runs.delete', { run: second.id });
    await app.client.call('runs.delete', { run: first.id });
  });

  it('the second waits in vain for a first that was cancelled, says so, and goes on when that is done', async () => {
    const one = await app.client.call('runs.start', { project: 'shop', model: 'tiny', strategy: 'staged', set });
    const two = (await app.client.call('runs.list', { project: 'shop' })).find((run) => run.over?.run === one.id)!;
    await app.client.call('runs.pause', { run: one.id });
    expect((await settled(two)).error).toMatchObject({ code: 'RUN_STATE' });
    await app.client.call('runs.resume', { run: one.id });
    expect((await settled(one)).state).toBe('completed');
    await app.client.call('runs.resume', { run: two.id });
    expect((await settled(two)).state).toBe('completed');
  });
});
