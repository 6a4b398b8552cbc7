/** @file Measuring end to end on a tiny model: what a result names, that it repeats, what is said when something is gone, and the report for the desk. */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { InputOf } from '../contract/api.ts';
import type { Comparison, ComparisonResult, Run } from '../contract/entities.ts';
import { readRows, ROWS_FILE, type StoredRow } from '../datasets/rows.ts';
import { createApp, type App } from '../hosts/app.ts';
import { cautionsOf } from './desk/cautions.ts';
import { learnedBy } from './targets.ts';

/** No report may hold any of it. */
const UNMISTAKABLE = 'zqx-very-private-folder';
const folder = mkdtempSync(join(tmpdir(), `fettle-${UNMISTAKABLE}-`));
const home = join(folder, 'home');
let app: App;
let first: Run;
let second: Run;
let measured: Comparison;

const train = async (over?: string, dataset?: string): Promise<Run> => {
  const set = { maxSteps: 8, evalEvery: 4, saveEvery: 4, maxLength: 64, batchSize: 2, learningRate: 0.02, rank: 4 };
  const request = { project: 'shop', model: 'tiny', strategy: 'instruct', set } as const;
  const run = await app.client.call('runs.start', {
    ...request,
    ...(over ? { over } : {}),
    ...(dataset ? { dataset } : {}),
  });
  await app.core.jobs.settled(app.core.jobs.of('train', run.id)!.id);
  return app.client.call('runs.show', { run: run.id });
};
const compare = async (targets: string[], more: Partial<InputOf<'evaluation.compare'>> = {}): Promise<Comparison> => {
  const { id } = await app.client.call('evaluation.compare', { project: 'shop', targets, samples: 3, ...more });
  await app.core.jobs.settled(app.core.jobs.of('compare', id)!.id);
  return app.client.call('evaluation.show', { comparison: id });
};

beforeAll(async () => {
  app = createApp({ home, kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop', goal: 'Answers <b>"kindly"</b> & in our tone' });
  const added = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' });
  await app.core.jobs.settled(added.id);
  const path = await writeExamples(folder);
  await app.core.jobs.settled((await client.call('datasets.import', { project: 'shop', paths: [path] })).id);
  await client.call('strategy.answer', { project: 'shop', answers: { task: 'one-job', flexibility: 'no' } });
  first = await train();
  second = await train(first.id);
  measured = await compare(['tiny', first.id, second.id], {
    suites: ['held-out', 'task', 'prose'],
    checks: [
      { kind: 'contains', text: 'Dear' },
      { kind: 'length', least: 1, most: 400 },
    ],
  });
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a comparison', () => {
  it('names suites with their versions, models, adapters, decoding and seed', () => {
    const { result } = measured;
    expect(result!.suites).toEqual([
      { name: 'held-out', version: `data ${first.dataset}`, items: result!.heldOutRows },
      { name: 'task', version: expect.stringMatching(/^data \w{12}, checks 1 \(\w{8}\)$/) as string, items: 3 },
      { name: 'prose', version: expect.stringMatching(/^1 \(\w{8}\)$/) as string, items: 8 },
    ]);
    expect(result!.models.map(({ run }) => run?.strategy ?? null)).toEqual([null, 'instruct', 'staged']);
    expect(result!.models.map(({ adapter }) => adapter?.length ?? 0)).toEqual([0, 64, 64]);
    expect(new Set(result!.models.map(({ model }) => model.hash)).size).toBe(1);
    expect(result!.decoding).toMatchObject({ temperature: 0, seed: 0 });
    expect(result!.answers).toEqual({ flexibility: 'no', task: 'one-job' });
    expect(result!.scorecard!.prose!.domains).toHaveLength(8);
  });

  it('judges by all checks and by each, and says what it makes of the strategy', () => {
    const { goal } = measured.result!.scorecard!;
    expect(goal!.checks.map(({ check }) => check.kind)).toEqual(['contains', 'length']);
    for (const { answers } of goal!.items)
      for (const { score, checks } of answers) expect(score).toBe(Math.min(...checks!));
    expect(measured.verdicts.map(({ target }) => target)).toEqual([first.id, second.id]);
    for (const { title, next } of measured.verdicts) expect([title, next[0]?.what]).not.toContain('');
  });

  it('gives the same figures and answers when it is asked again', async () => {
    const again = await compare(measured.targets, {
      suites: ['held-out', 'task', 'prose'],
      checks: measured.result!.scorecard!.goal!.checks.map(({ check }) => check),
    });
    const kept = ({ result }: Comparison): unknown => ({
      ...result,
      samples: result!.samples.map(({ answers }) => answers.map(({ text }) => text)),
    });
    expect(kept(again)).toEqual(kept(measured));
  });

  it('measures one model alone, without a verdict, and needs no data for what needs none', async () => {
    const alone = await compare(['tiny'], { suites: ['prose'] });
    expect(alone.result).toMatchObject({ losses: [], heldOutRows: 0, differences: [] });
    expect(alone.result!.scorecard!.prose!.losses).toHaveLength(1);
    expect(alone.verdicts).toEqual([]);
  });

  it('keeps the loss of every row, of one length for all, and the hash of each stage', () => {
    const { rows, maxLength, heldOutRows, heldOutTokens, losses, models, learned } = measured.result!;
    expect(rows).toHaveLength(heldOutRows);
    expect(rows.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(heldOutTokens);
    for (const [i, { loss }] of losses.entries())
      expect(rows.reduce((sum, row) => sum + row.losses[i]! * row.tokens, 0) / heldOutTokens).toBeCloseTo(
        loss.value,
        9,
      );
    expect(rows[0]!.text).toMatch(/^\w+ writes that the /);
    // That of the model: the runs were trained with 64.
    expect(maxLength).toBe(512);
    expect(models.map(({ under }) => under)).toEqual([[], [], [models[1]!.adapter]]);
    expect(learned).toEqual({ rows: 0, unchecked: [] });
  });

  it('is listed without what it measured', async () => {
    const list = await app.client.call('evaluation.list', { project: 'shop' });
    expect(list.at(-1)).toMatchObject({
      id: measured.id,
      state: 'completed',
      labels: measured.result!.models.map(({ label }) => label),
    });
    expect(JSON.stringify(list)).not.toContain('Dear');
  });
});

describe('data that another run learned from', () => {
  /** Some of the first data's rows, brought in again by themselves among others: other ones are held out. */
  async function again(name: string, taken: readonly StoredRow[], others: number): Promise<string> {
    const rows = [
      ...taken.map(({ messages }) => ({ instruction: messages![0]!.content, response: messages![1]!.content })),
      ...Array.from({ length: others }, (_, i) => ({ instruction: `${name} ${i}?`, response: `Answer ${i}.` })),
    ];
    const path = join(folder, `${name}.jsonl`);
    writeFileSync(path, rows.map((each) => JSON.stringify(each)).join('\n'));
    const { client } = app;
    await app.core.jobs.settled(
      (await client.call('datasets.import', { project: 'shop', paths: [path], heldOut: 0.01 })).id,
    );
    return (await client.call('datasets.list', { project: 'shop' }))[0]!.id;
  }
  const rowsOf = (dataset: string): Promise<StoredRow[]> =>
    Array.fromAsync(readRows(join(home, 'projects/shop/datasets', dataset, ROWS_FILE)));

  it('is left out of what is measured, also where a stage below learned from it, and it is said how much', async () => {
    const held = (await rowsOf(first.dataset!)).filter(({ split }) => split === 'held-out');
    const dataset = await again('some', held, 20);
    const questions = new Set(held.map(({ messages }) => messages![0]!.content));
    const trained = (await rowsOf(dataset)).filter(
      ({ split, messages }) => split === 'train' && questions.has(messages![0]!.content),
    ).length;
    expect([trained > 0, trained < held.length]).toEqual([true, true]);
    const left = held.length - trained;
    const other = await train(undefined, dataset);
    const { result } = await compare([first.id, other.id], { samples: 100 });
    expect(result).toMatchObject({ learned: { rows: trained, unchecked: [] }, heldOutRows: left });
    expect(result!.samples).toHaveLength(left);
    const staged = await train(other.id, first.dataset!);
    const below = await compare(['tiny', staged.id], { dataset: first.dataset!, suites: ['held-out'] });
    expect(below.result).toMatchObject({ learned: { rows: trained }, heldOutRows: left });
  });

  it('is refused where nothing else is left', async () => {
    const trained = (await rowsOf(first.dataset!)).filter(({ split }) => split === 'train').slice(0, 20);
    const dataset = await again('trained', trained, 0);
    expect(await compare(['tiny', first.id], { dataset })).toMatchObject({
      state: 'failed',
      result: null,
      error: { code: 'DATA_EMPTY', message: expect.stringContaining('The only held-out row of these data') as string },
    });
    await app.client.call('datasets.delete', { project: 'shop', dataset });
  });

  it('may be unknown: of an adapter that was made elsewhere, and of a run that began from one', () => {
    const parts = { runs: { show: () => first }, datasets: { rowsFile: (_: string, id: string) => id } };
    const of = (run: Partial<Run>): unknown =>
      learnedBy({ run: { ...first, ...run } } as Parameters<typeof learnedBy>[0], parts);
    expect(of({})).toEqual({ files: [first.dataset], known: true });
    expect(of({ dataset: null, over: { run: first.id, checkpoint: null } })).toEqual({
      files: [first.dataset],
      known: false,
    });
    expect(of({ recipe: { ...first.recipe!, initAdapter: '/x' } })).toMatchObject({ known: false });
  });
});

describe('documents', () => {
  it('are judged by the checks that are named, and not at all without; those that look for one answer are refused', async () => {
    const { client } = app;
    const path = join(folder, 'text.md');
    const paragraph = (i: number): string => `Paragraph ${i} tells ${'of lamps and of chairs '.repeat(12)}in the shop.`;
    writeFileSync(path, Array.from({ length: 12 }, (_, i) => paragraph(i)).join('\n\n'));
    await app.core.jobs.settled(
      (await client.call('datasets.import', { project: 'shop', paths: [path], heldOut: 0.3 })).id,
    );
    const [text] = await client.call('datasets.list', { project: 'shop' });
    expect(text!.kind).toBe('prose');
    const asked = { dataset: text!.id, suites: ['task'] } as const;
    const plain = await compare(['tiny'], { ...asked, suites: ['task'] });
    expect(plain.result).toMatchObject({ scorecard: null, samples: [{ prompt: expect.any(String) as string }] });
    const judged = await compare(['tiny'], { ...asked, suites: ['task'], checks: [{ kind: 'f1' }] });
    expect(judged.result!.scorecard!.goal!.items[0]!.expected).toContain('of lamps and of chairs');
    const refused = await compare(['tiny'], { ...asked, suites: ['task'], checks: [{ kind: 'exact' }] });
    expect(refused.error).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('these data are documents') as string,
    });
    await client.call('datasets.delete', { project: 'shop', dataset: text!.id });
  });
});

describe('what goes wrong', () => {
  const refused = (request: Partial<InputOf<'evaluation.compare'>>, code: string): Promise<void> =>
    expect(compare(['tiny', first.id], request)).rejects.toMatchObject({ code });
  it('is said before anything is measured', async () => {
    await refused({ checks: [{ kind: 'pattern', text: '(' }] }, 'INPUT_INVALID');
    await refused({ checks: [{ kind: 'json', text: '{"type": 7' }] }, 'INPUT_INVALID');
    await refused({ checks: [{ kind: 'length', least: 9, most: 3 }] }, 'INPUT_INVALID');
    await refused({ targets: ['tiny', 'tiny'] }, 'INPUT_INVALID');
    await refused({ targets: ['tiny', 'nobody'] }, 'MODEL_NOT_FOUND');
    await refused({ dataset: 'none' }, 'DATASET_NOT_FOUND');
  });

  it('what a check cannot judge in these data is said before any model is asked', async () => {
    const { client } = app;
    const bring = async (name: string, answer: (i: number) => string, about = ''): Promise<string> => {
      const rows = Array.from({ length: 20 }, (_, i) => ({
        instruction: `Question ${i}${about}`,
        response: answer(i),
      }));
      writeFileSync(join(folder, name), rows.map((each) => JSON.stringify(each)).join('\n'));
      const path = join(folder, name);
      await app.core.jobs.settled(
        (await client.call('datasets.import', { project: 'shop', paths: [path], heldOut: 0.3 })).id,
      );
      return (await client.call('datasets.list', { project: 'shop' }))[0]!.id;
    };
    const failed = async (dataset: string, kind: 'rouge-l' | 'choice'): Promise<unknown> => {
      const { id } = await compare(['tiny'], { dataset, suites: ['task'], checks: [{ kind }] });
      return client.call('evaluation.show', { comparison: id });
    };
    const refusal = (words: string): object => ({
      state: 'failed',
      result: null,
      error: { code: 'INPUT_INVALID', message: expect.stringContaining(words) as string },
    });
    const foreign = await bring('foreign.jsonl', (i) => `Здравствуйте, лампа номер ${'и'.repeat(i + 1)} готова.`);
    expect(await failed(foreign, 'rouge-l')).toMatchObject(refusal('Latin letters'));
    const wordless = await bring('wordless.jsonl', (i) => '!'.repeat(i + 1));
    expect(await failed(wordless, 'choice')).toMatchObject(refusal('needs an expected answer'));
    const long = await bring('long.jsonl', (i) => `Answer ${i}`, 'so '.repeat(400));
    expect(await failed(long, 'choice')).toMatchObject({
      state: 'failed',
      error: {
        code: 'PROMPT_TOO_LONG',
        message: expect.stringMatching(/^Question 1 of \d is .* 512 at most/) as string,
      },
    });
    for (const dataset of [foreign, wordless, long]) await client.call('datasets.delete', { project: 'shop', dataset });
  });

  it('a checkpoint or a model whose files are gone is named, and nothing half-measured is kept', async () => {
    const checkpoints = join(home, 'projects/shop/runs', second.id, 'checkpoints');
    renameSync(checkpoints, `${checkpoints}-away`);
    await refused({ targets: ['tiny', second.id] }, 'CHECKPOINT_NOT_FOUND');
    renameSync(`${checkpoints}-away`, checkpoints);
    const models = join(home, 'models/tiny');
    renameSync(models, `${models}-away`);
    await refused({}, 'MODEL_NOT_FOUND');
    renameSync(`${models}-away`, models);
    // Asked for while it was there, and gone when its turn came: only the job can say so.
    const { id } = await app.client.call('evaluation.compare', { project: 'shop', targets: ['tiny', second.id] });
    renameSync(checkpoints, `${checkpoints}-away`);
    await app.core.jobs.settled(app.core.jobs.of('compare', id)!.id);
    renameSync(`${checkpoints}-away`, checkpoints);
    expect(await app.client.call('evaluation.show', { comparison: id })).toMatchObject({ result: null });
  });

  it('a cancelled one keeps nothing and says so', async () => {
    const { id } = await app.client.call('evaluation.compare', {
      project: 'shop',
      targets: ['tiny', first.id],
      suites: ['general', 'task'],
      samples: 20,
    });
    const job = app.core.jobs.of('compare', id)!;
    await app.client.call('jobs.cancel', { job: job.id });
    await app.core.jobs.settled(job.id);
    expect(await app.client.call('evaluation.show', { comparison: id })).toMatchObject({
      state: 'cancelled',
      result: null,
    });
    await expect(app.client.call('evaluation.report', { run: first.id, comparison: id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('cancelled') as string,
    });
  });

  it('a probe suite of a newer Fettle is not guessed at', async () => {
    mkdirSync(join(folder, 'newer/probes'), { recursive: true });
    writeFileSync(
      join(folder, 'newer/probes/suite.json'),
      JSON.stringify({ format: 99, version: 1, sha256: 'x', more: [] }),
    );
    process.env.FETTLE_RESOURCES = join(folder, 'newer');
    try {
      expect(await compare(['tiny'], { suites: ['prose'] })).toMatchObject({
        state: 'failed',
        result: null,
        error: { code: 'SUITE_NEWER', message: expect.stringContaining('form 99') as string },
      });
    } finally {
      delete process.env.FETTLE_RESOURCES;
    }
  });

  it('a result of a newer Fettle is not guessed at, and spoils no list', async () => {
    const { result } = app.core.db.prepare('SELECT result FROM comparison WHERE id = ?').get(measured.id) as {
      result: string;
    };
    const put = app.core.db.prepare('UPDATE comparison SET result = ? WHERE id = ?');
    put.run(JSON.stringify({ ...(JSON.parse(result) as object), version: 3 }), measured.id);
    const shown = app.client.call('evaluation.show', { comparison: measured.id });
    await expect(shown).rejects.toMatchObject({ code: 'RESULT_NEWER' });
    expect(await app.client.call('evaluation.list', { project: 'shop' })).not.toEqual([]);
    put.run(result, measured.id);
  });

  it('a result that was kept before single rows were is read, and says that nobody looked for learned rows', async () => {
    const { result } = app.core.db.prepare('SELECT result FROM comparison WHERE id = ?').get(measured.id) as {
      result: string;
    };
    const put = app.core.db.prepare('UPDATE comparison SET result = ? WHERE id = ?');
    const { rows: _r, learned: _l, maxLength: _m, models, ...older } = JSON.parse(result) as ComparisonResult;
    put.run(JSON.stringify({ ...older, models: models.map(({ under: _, ...model }) => model) }), measured.id);
    const shown = await app.client.call('evaluation.show', { comparison: measured.id });
    expect(shown.result).toMatchObject({ learned: null, maxLength: null, rows: [], models: [{ under: [] }, {}, {}] });
    put.run(result, measured.id);
  });

  it('a result that was kept without verdicts on other text is read by its margins, as it was told', async () => {
    const { result } = app.core.db.prepare('SELECT result FROM comparison WHERE id = ?').get(measured.id) as {
      result: string;
    };
    const put = app.core.db.prepare('UPDATE comparison SET result = ? WHERE id = ?');
    const older = JSON.parse(result) as NonNullable<Comparison['result']>;
    const margins = [
      { value: 0.2, low: 0.1, high: 0.3 },
      { value: 0.1, low: -0.1, high: 0.3 },
    ];
    const prose = { ...older.scorecard!.prose!, differences: margins, verdicts: undefined };
    put.run(JSON.stringify({ ...older, scorecard: { ...older.scorecard, prose } }), measured.id);
    const shown = await app.client.call('evaluation.show', { comparison: measured.id });
    expect(shown.result!.scorecard!.prose!.verdicts).toEqual(['worse', 'no-difference']);
    put.run(result, measured.id);
  });
});

describe('the report for the desk', () => {
  it('states the risk of the way that was taken, of no other', () => {
    const { result } = measured;
    const advice = { ...first.advice!, risk: 'It may forget.' };
    const told = (strategy: NonNullable<Run['advice']>['strategy'], more: Partial<Run> = {}): boolean =>
      cautionsOf(
        result!,
        0,
        { ...first, choice: null, ...more, advice: { ...advice, strategy } },
        { license: null },
      ).includes('It may forget.');
    expect([told('instruct'), told('non-instruct'), told('do-not-tune'), told('staged')]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    const overruled = { overruled: true, advised: 'staged', reason: '' } as NonNullable<Run['choice']>;
    expect(told('staged', { choice: overruled })).toBe(false);
    const { over } = second;
    expect([told('staged', { over }), told('instruct', { over })]).toEqual([true, false]);
  });

  it('masks what looks personal in a check too', async () => {
    const checks = [
      { kind: 'contains', text: 'a.m@example.org' },
      { kind: 'length', most: 400 },
    ] as const;
    const { id } = await compare(['tiny', first.id], { suites: ['task'], checks: [...checks] });
    const { html } = await app.client.call('evaluation.report', { run: first.id, comparison: id });
    expect(html).toContain('Holds the words: ');
    expect(html).not.toContain('a.m@example');
  });

  it('stands by itself, names what was measured, and nothing of this machine', async () => {
    const { html, name } = await app.client.call('evaluation.report', { run: first.id, comparison: measured.id });
    expect(name).toBe(`${first.id}-report.html`);
    // Nothing is loaded: no address, no script, no picture but those drawn in it.
    expect(html).not.toMatch(/\bsrc=|\bhref=|url\(|@import|<script|<link|<iframe|<img/i);
    expect([...html.matchAll(/https?:\/\/[^"'\s<]+/g)].map(([url]) => url)).toEqual(
      html.match(/http:\/\/www\.w3\.org\/2000\/svg/g) ?? [],
    );
    const { username, homedir } = userInfo();
    for (const secret of [
      UNMISTAKABLE,
      folder,
      home,
      tmpdir(),
      hostname(),
      homedir,
      ...(username === 'root' ? [] : [username]),
    ])
      expect(html).not.toContain(secret);
    expect(html).toContain('Answers &#60;b&#62;&#34;kindly&#34;&#60;/b&#62; &#38; in our tone');
    for (const words of ['Verdict on the strategy', 'Precision on the goal', 'Lineage', 'Read before use', 'Seen by'])
      expect(html).toContain(words);
    expect(html.match(/<article class="sheet">/g)).toHaveLength(2);
    expect(html).toContain('went most wrong');
  });

  it('rests on the comparison with the base where none is named, and says where there is none', async () => {
    await expect(app.client.call('evaluation.report', { run: second.id })).resolves.toMatchObject({
      html: expect.stringContaining('Run 2') as string,
    });
    const third = await train();
    await expect(app.client.call('evaluation.report', { run: third.id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('not compared yet') as string,
    });
    await compare([third.id, 'tiny'], { suites: ['held-out'] });
    await expect(app.client.call('evaluation.report', { run: third.id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('as the first') as string,
    });
    expect(readdirSync(join(home, 'temporary'))).toEqual([]);
  });

  it('is still made once the base was removed', async () => {
    await app.client.call('models.delete', { model: 'tiny' });
    const { html } = await app.client.call('evaluation.report', { run: first.id, comparison: measured.id });
    for (const words of ['tiny', 'not known here', 'removed from Fettle']) expect(html).toContain(words);
  });
});
