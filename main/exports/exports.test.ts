/** @file Exports through the app: any checkpoint, the base beside an adapter, what is told and what is not, and everything that may go wrong. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { InputOf } from '../contract/api.ts';
import type { Export, Run } from '../contract/entities.ts';
import { openModel } from '../formats/open.ts';
import { readAdapter } from '../formats/peft.ts';
import { createApp, type App } from '../hosts/app.ts';
import { checkPlace, checkRoom, makeStaging } from './room.ts';

// On a machine that is slow and busy: time is measured elsewhere.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });
const folder = mkdtempSync(join(tmpdir(), 'fettle-exports-'));
const out = (name: string): string => join(folder, 'out', name);
let app: App;
let run: Run;
const jobOf = ({ id }: Export): string => app.core.jobs.of('export', id)!.id;
const begin = (request: Omit<InputOf<'exports.start'>, 'run'>): Promise<Export> =>
  app.client.call('exports.start', { run: run.id, ...request });
const ended = async (begun: Export): Promise<Export> => {
  await app.core.jobs.settled(jobOf(begun));
  return app.client.call('exports.show', { export: begun.id });
};
const make = async (request: Omit<InputOf<'exports.start'>, 'run'>): Promise<Export> => ended(await begin(request));
/** An adapter that was made elsewhere. */
const bring = async (adapter: { path: string; model: string; name?: string }): Promise<Run> => {
  const { id, subject } = await app.client.call('runs.import', { project: 'shop', ...adapter });
  await app.core.jobs.settled(id);
  return app.client.call('runs.show', { run: subject });
};
/** Nothing half-written lies where exports go. */
const leftovers = (): string[] => readdirSync(out('.')).filter((name) => name.endsWith('.exporting'));

beforeAll(async () => {
  mkdirSync(out('.'), { recursive: true });
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Shop' });
  const model = await client.call('models.add', { path: await writeTinyModel(join(folder, 'tiny')), name: 'tiny' });
  await app.core.jobs.settled(model.id);
  await app.core.jobs.settled(
    (await client.call('datasets.import', { project: 'shop', paths: [await writeExamples(folder)] })).id,
  );
  const set = { maxSteps: 12, evalEvery: 6, saveEvery: 6, maxLength: 64, keepCheckpoints: 9, rank: 4, alpha: 8 };
  run = await client.call('runs.start', { project: 'shop', model: 'tiny', strategy: 'instruct', set });
  await app.core.jobs.settled(app.core.jobs.of('train', run.id)!.id);
  run = await client.call('runs.show', { run: run.id });
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('what is exported', () => {
  it('is the best checkpoint, the last, or any by its name', async () => {
    const { checkpoints } = run;
    expect(checkpoints.length).toBeGreaterThan(1);
    const best = checkpoints.find((each) => each.best)!.name;
    const last = checkpoints.find((each) => each.last)!.name;
    const first = checkpoints[0]!.name;
    for (const [asked, got] of [
      [undefined, best],
      ['best', best],
      ['last', last],
      [first, first],
    ] as const) {
      const made = await make({
        format: 'adapter',
        out: out(`checkpoint-${asked}`),
        ...(asked === undefined ? {} : { checkpoint: asked }),
      });
      expect([made.error, made.checkpoint, made.proof?.verdict]).toEqual([null, got, 'equal']);
      const [files, kept] = await Promise.all([
        readAdapter(made.folder),
        readAdapter(join(folder, 'home', 'projects', 'shop', 'runs', run.id, 'checkpoints', got)),
      ]);
      const name = files.weights.names[0]!;
      expect(await files.weights.read(name)).toEqual(await kept.weights.read(name));
      await files.close();
      await kept.close();
    }
    await expect(begin({ format: 'adapter', checkpoint: 'step-99' })).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    });
  });

  it('tells where it comes from, what was measured, how to run it and how to make it again', async () => {
    const { id } = await app.client.call('evaluation.compare', {
      project: 'shop',
      targets: ['tiny', run.id],
      samples: 2,
    });
    await app.core.jobs.settled(app.core.jobs.of('compare', id)!.id);
    const made = await make({ format: 'gguf', dtype: 'q8_0', out: out('told') });
    expect(made.error).toBeNull();
    const read = (name: string): string => readFileSync(join(made.folder, name), 'utf8');
    const file = made.files.find(({ name }) => name.endsWith('.gguf'))!.name;
    const card = read('README.md');
    for (const part of [
      'license: "apache-2.0"',
      'instruct tuning',
      '## Scorecard',
      '**this**',
      'Measured on held-out (24; data ',
      'tokens count for the loss.',
      `llama-server -m ${file}`,
    ])
      expect(card).toContain(part);
    expect(made.howTo.map(({ client }) => client)).toEqual(['llama.cpp', 'LM Studio', 'Node']);
    expect(made.howTo[0]!.lines).toContain(`llama-cli -m ${join(made.folder, file)} -cnv`);
    const recipe = JSON.parse(read('recipe.json')) as Record<string, Record<string, unknown>>;
    const [model, data] = [
      await app.client.call('models.show', { model: 'tiny' }),
      await app.client.call('datasets.show', { project: 'shop', dataset: run.dataset! }),
    ];
    expect(recipe).toMatchObject({ base: { hash: model.hash }, data: { hash: data.hash }, recipe: { ...run.recipe } });
    expect(recipe['versions']).toMatchObject({ fettle: app.core.version });
    expect(JSON.parse(read('proof.json'))).toMatchObject({ verdict: made.proof!.verdict });
    // What was asked and answered is a person's data.
    const { result } = await app.client.call('evaluation.show', { comparison: id });
    for (const { prompt } of result!.samples) expect(card).not.toContain(prompt);
    // A run that went on may have another best by now: what was measured of the one then is not told of the one now.
    const other = run.checkpoints.find((each) => !each.best)!.name;
    let told = 0;
    const cardOf = async (checkpoint: string): Promise<string> => {
      const { folder } = await make({ format: 'adapter', checkpoint, out: out(`told-${told++}`) });
      return readFileSync(join(folder, 'README.md'), 'utf8');
    };
    expect(await cardOf(other)).not.toContain('## Scorecard');
    const renamed = JSON.stringify(['tiny', `${run.id}@${other}`]);
    app.core.db
      .prepare(`UPDATE comparison SET request = json_set(request, '$.targets', json(?)) WHERE id = ?`)
      .run(renamed, id);
    expect(await cardOf(other)).not.toContain('## Scorecard');
    expect(await cardOf(run.checkpoints.find((each) => each.best)!.name)).toContain('**this**');
  });

  it('may be an adapter with its base beside it, as it was trained on', async () => {
    const made = await make({ format: 'adapter', withBase: true, out: out('with-base') });
    expect([made.error, made.proof?.verdict]).toEqual([null, 'equal']);
    const [base, tiny] = [await openModel(join(made.folder, 'base')), await openModel(join(folder, 'tiny'))];
    for (const name of tiny.weights.names) expect(await base.weights.read(name)).toEqual(await tiny.weights.read(name));
    await base.close();
    await tiny.close();
    expect(readFileSync(join(made.folder, 'README.md'), 'utf8')).toContain('from_pretrained("base")');
    await expect(begin({ format: 'gguf', withBase: true })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });
});

describe('what the run answers to the questions of a proof', () => {
  const home = join(folder, 'home', 'projects', 'shop');
  const kept = join(home, 'runs', 'shop-1', 'proof-answers');
  let made = 0;
  /** Whether the run was asked for it, and what the proof says of that. */
  async function asked(request: Partial<InputOf<'exports.start'>> = {}): Promise<[boolean, boolean | undefined]> {
    const stages = new Set<string>();
    const stop = app.client.subscribe('jobs', 0, (_, { job }) => void stages.add(`${job.subject}: ${job.stage}`));
    const begun = await begin({ format: 'adapter', ...request, out: out(`asked-${made++}`) });
    const { error, proof, folder: files } = await ended(begun);
    stop();
    expect([error, proof?.verdict]).toEqual([null, 'equal']);
    expect(JSON.parse(readFileSync(join(files, 'proof.json'), 'utf8'))).toMatchObject({ asked: proof!.asked });
    return [stages.has(`${begun.id}: Asking the run`), proof!.asked?.kept];
  }
  /** A file changed while something is done. */
  async function changed<T>(path: string, change: (was: Buffer) => Buffer, work: () => Promise<T>): Promise<T> {
    const was = readFileSync(path);
    writeFileSync(path, change(was));
    try {
      return await work();
    } finally {
      writeFileSync(path, was);
    }
  }
  const [ASKED, KEPT] = [
    [true, false],
    [false, true],
  ];

  it('is asked once of a checkpoint, whatever the format', async () => {
    rmSync(kept, { recursive: true, force: true });
    expect(await asked({ format: 'safetensors' })).toEqual(ASKED);
    expect(await asked({ format: 'gguf', dtype: 'f32' })).toEqual(KEPT);
    expect(await asked()).toEqual(KEPT);
    const other = run.checkpoints.find((each) => !each.best)!.name;
    expect(await asked({ checkpoint: other })).toEqual(ASKED);
    expect(await asked()).toEqual(KEPT);
  });

  it('is asked again where the checkpoint’s weights, the rows or the base are other ones, or what was kept is damaged', async () => {
    expect(await asked()).toEqual(KEPT);
    const best = run.checkpoints.find((each) => each.best)!.name;
    const adapter = join(home, 'runs', 'shop-1', 'checkpoints', best, 'adapter_model.safetensors');
    // As where a run was deleted, and another one has its name: the last bit of one weight.
    const otherWeight = (was: Buffer): Buffer => {
      const bytes = Buffer.from(was);
      bytes[bytes.length - 4]! ^= 1;
      return bytes;
    };
    expect(await changed(adapter, otherWeight, () => asked())).toEqual(ASKED);
    const rows = join(home, 'datasets', run.dataset!, 'rows.jsonl');
    const otherRows = (was: Buffer): Buffer => Buffer.from(was.toString().replaceAll('writes that', 'writez that'));
    expect(await changed(rows, otherRows, () => asked())).toEqual(ASKED);
    for (const name of readdirSync(kept)) writeFileSync(join(kept, name), 'not answers');
    expect(await asked()).toEqual(ASKED);
    expect(await asked()).toEqual(KEPT);
    const weights = join(folder, 'home', 'models', 'tiny', 'model.safetensors');
    utimesSync(weights, 1, 1);
    expect(await asked()).toEqual(ASKED);
  });

  it('goes with the run', () => {
    expect(readdirSync(kept).length).toBeGreaterThan(0);
    expect(kept.startsWith(app.core.home.run('shop', run.id))).toBe(true);
  });
});

describe('a stage on one that trained all weights', () => {
  it('is an adapter of its own, with its base beside it', async () => {
    const { client } = app;
    const train = async (more: Partial<InputOf<'runs.start'>>, method: 'lora' | 'full'): Promise<Run> => {
      const set = { maxSteps: 1, evalEvery: 0, saveEvery: 0, maxLength: 64, method };
      const { id } = await client.call('runs.start', {
        project: 'shop',
        model: 'tiny',
        strategy: 'instruct',
        set,
        ...more,
      });
      await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
      return client.call('runs.show', { run: id });
    };
    const full = await train({}, 'full');
    const over = await train({ over: full.id }, 'lora');
    const start = (request: Omit<InputOf<'exports.start'>, 'run'>, id = over.id): Promise<Export> =>
      client.call('exports.start', { run: id, ...request });
    await expect(start({ format: 'adapter' })).rejects.toMatchObject({
      code: 'EXPORT_UNSUPPORTED',
      hint: expect.stringContaining('--alone --with-base') as string,
    });
    await expect(start({ format: 'adapter' }, full.id)).rejects.toMatchObject({
      message: expect.stringContaining('no adapter to hand over') as string,
    });
    const made = await ended(await start({ format: 'adapter', alone: true, withBase: true, out: out('over-full') }));
    expect([made.error, made.proof?.verdict]).toEqual([null, 'equal']);
    const whole = await ended(await start({ format: 'safetensors', out: out('full') }, full.id));
    const tags = (folder: string): string => /^tags: .*$/m.exec(readFileSync(join(folder, 'README.md'), 'utf8'))![0];
    expect([tags(made.folder), tags(whole.folder)]).toEqual(['tags: [fettle, lora]', 'tags: [fettle]']);
  });
});

describe('a run on long prompts', () => {
  it('is asked about their ends', async () => {
    const { client } = app;
    const path = await writeTinyModel(join(folder, 'long'));
    const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
    writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 1024 }));
    await client.call('projects.create', { name: 'Long' });
    await app.core.jobs.settled((await client.call('models.add', { path, name: 'long' })).id);
    const rows = Array.from({ length: 30 }, (_, i) =>
      JSON.stringify({
        instruction: `${`Wheel ${i * 37} squeaks. `.repeat(45).slice(0, 700)}?`,
        response: `Oil ${i}.`,
      }),
    );
    writeFileSync(join(folder, 'long.jsonl'), rows.join('\n'));
    const imported = await client.call('datasets.import', { project: 'long', paths: [join(folder, 'long.jsonl')] });
    await app.core.jobs.settled(imported.id);
    const set = { maxSteps: 1, evalEvery: 0, saveEvery: 0, maxLength: 1024, rank: 2 };
    const { id } = await client.call('runs.start', { project: 'long', model: 'long', strategy: 'instruct', set });
    await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
    const begun = await client.call('exports.start', { run: id, format: 'safetensors', out: out('long') });
    const made = await ended(begun);
    expect([made.error, made.proof?.verdict]).toEqual([null, 'equal']);
    expect(made.proof!.tokensCompared).toBeGreaterThan(0);
    expect(made.proof!.likelihood!.tokens).toBeGreaterThan(0);
  });
});

describe('what goes wrong', () => {
  it('a folder that is there is not touched, nor one that came meanwhile', async () => {
    mkdirSync(out('there'));
    await expect(begin({ format: 'adapter', out: out('there') })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    const begun = await begin({ format: 'safetensors', out: out('meanwhile') });
    mkdirSync(out('meanwhile'));
    writeFileSync(join(out('meanwhile'), 'mine.txt'), 'mine');
    expect(await ended(begun)).toMatchObject({ state: 'failed', error: { code: 'TARGET_EXISTS' } });
    expect([readdirSync(out('meanwhile')), leftovers()]).toEqual([['mine.txt'], []]);
  });

  it('a disk without room, a folder that may not be written in', async () => {
    await expect(checkRoom(out('new/deeper'), 2e9, () => Promise.resolve(1e9))).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: 'The export needs 2.00 GB, and 1.00 GB are free there.',
    });
    await checkRoom(out('new/deeper'), 1e9, () => Promise.resolve(2e9));
    expect(existsSync(out('new'))).toBe(false);
    writeFileSync(out('a-file'), '');
    const unwritable = {
      code: 'FILE_UNREADABLE',
      message: expect.stringContaining('Nothing can be written') as string,
    };
    await expect(begin({ format: 'adapter', out: out('a-file/x') })).rejects.toMatchObject(unwritable);
    const begun = await begin({ format: 'adapter', out: out('later/x') });
    writeFileSync(out('later'), '');
    expect((await ended(begun)).error).toMatchObject(unwritable);
    mkdirSync(out('read-only'));
    chmodSync(out('read-only'), 0o555);
    // Root may write anywhere.
    const root = process.geteuid?.() === 0;
    chmodSync(folder, 0o755);
    if (root) process.seteuid!(65534);
    try {
      if (process.platform !== 'win32') {
        await expect(makeStaging(out('read-only/x'), 'job')).rejects.toMatchObject(unwritable);
        // It is asked for the user who began the process, which stays root.
        if (!root) expect(() => checkPlace(out('read-only/x'))).toThrow('Nothing can be written');
      }
    } finally {
      if (root) process.seteuid!(0);
    }
  });

  it('one that is cancelled leaves nothing', async () => {
    const begun = await begin({ format: 'safetensors', out: out('new/deeper/cancelled') });
    // While its files are there, and the folders above them.
    while (!existsSync(out('new/deeper')) || readdirSync(out('new/deeper')).length === 0)
      await new Promise((resolve) => setTimeout(resolve, 1));
    await app.client.call('jobs.cancel', { job: jobOf(begun) });
    expect(await ended(begun)).toMatchObject({ state: 'cancelled' });
    expect([existsSync(out('new')), leftovers()]).toEqual([false, []]);
  });

  it('one that fails takes away what it made, and not what somebody else has put there', async () => {
    mkdirSync(out('kept'));
    const staging = await makeStaging(out('kept/new/deeper/x'), 'job');
    writeFileSync(out('kept/new/mine.txt'), 'mine');
    await staging.clear();
    expect(readdirSync(out('kept'), { recursive: true }).sort()).toEqual(['new', join('new', 'mine.txt')]);
    const again = await makeStaging(out('kept/y'), 'job');
    await again.clear();
    expect(existsSync(out('kept'))).toBe(true);
  });

  it('a project that is not there has no list', async () => {
    for (const list of ['exports.list', 'evaluation.list', 'pilots.list', 'curves.list', 'answers.list'] as const)
      await expect(app.client.call(list, { project: 'nowhere' })).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    await expect(
      app.client.call('evaluation.compare', { project: 'nowhere', targets: ['tiny'] }),
    ).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
  });

  it('commands are told as they are now, whatever was stored', async () => {
    const made = (await app.client.call('exports.list', { project: 'shop' })).find(({ howTo }) => howTo.length > 0)!;
    app.core.db.prepare(`UPDATE export SET result = json_set(result, '$.howTo', json('[]')) WHERE id = ?`).run(made.id);
    expect((await app.client.call('exports.show', { export: made.id })).howTo).toEqual(made.howTo);
  });

  it('a checkpoint that is gone is said by its name', async () => {
    const gone = run.checkpoints[0]!.name;
    const begun = await begin({ format: 'adapter', checkpoint: gone, out: out('gone') });
    rmSync(join(folder, 'home', 'projects', 'shop', 'runs', run.id, 'checkpoints', gone), { recursive: true });
    expect((await ended(begun)).error).toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
      message: `The checkpoint ${gone} is no longer there.`,
    });
    expect([existsSync(out('gone')), leftovers()]).toEqual([false, []]);
  });

  it('what a format cannot hold is refused before anything is done', async () => {
    await expect(begin({ format: 'safetensors', dtype: 'q4_0' })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    const base = await writeTinyModel(join(folder, 'base'), { base: true });
    await app.core.jobs.settled((await app.client.call('models.add', { path: base, name: 'base' })).id);
    const imported = await bring({ model: 'base', path: out('checkpoint-best'), name: 'Elsewhere' });
    // It has no form of conversation, and Ollama wants one.
    const begun = await app.client.call('exports.start', { run: imported.id, format: 'ollama', out: out('formless') });
    expect(await ended(begun)).toMatchObject({ state: 'failed', error: { code: 'EXPORT_UNSUPPORTED' }, proof: null });
    expect([existsSync(out('formless')), leftovers()]).toEqual([false, []]);
  });
});

describe('an export that is deleted', () => {
  const listed = async (): Promise<string[]> =>
    (await app.client.call('exports.list', { project: 'shop' })).map(({ id }) => id);

  it('takes the files in the project’s own folder with it, and leaves a folder that was named', async () => {
    const [own, named] = [await make({ format: 'adapter' }), await make({ format: 'adapter', out: out('named') })];
    expect([own.error, named.error, existsSync(own.folder)]).toEqual([null, null, true]);
    for (const { id } of [own, named]) await app.client.call('exports.delete', { export: id });
    expect([existsSync(own.folder), readdirSync(named.folder).length]).toEqual([false, named.files.length]);
    expect(await listed()).not.toContain(own.id);
    await expect(app.client.call('exports.delete', { export: own.id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
    // Its number is not given to another one.
    expect((await make({ format: 'adapter' })).id).not.toBe(named.id);
  });

  it('is not one that is being made; one that failed or was cancelled goes', async () => {
    const begun = await begin({ format: 'safetensors' });
    await expect(app.client.call('exports.delete', { export: begun.id })).rejects.toMatchObject({
      code: 'EXPORT_IN_USE',
    });
    await app.client.call('jobs.cancel', { job: jobOf(begun) });
    expect(await ended(begun)).toMatchObject({ state: 'cancelled' });
    await app.client.call('exports.delete', { export: begun.id });
    expect(await listed()).not.toContain(begun.id);
  });
});

describe('an adapter that was brought in', () => {
  it('is a run that was not trained here: asked, compared and stood on, but not resumed, cloned or told figures of', async () => {
    const { client } = app;
    const own = await bring({ model: 'tiny', path: out('checkpoint-last') });
    expect(own).toMatchObject({
      state: 'completed',
      imported: { name: 'checkpoint-last', rank: 4 },
      steps: 0,
      best: null,
    });
    for (const call of ['runs.resume', 'runs.continue', 'runs.clone'] as const)
      await expect(client.call(call, { run: own.id })).rejects.toMatchObject({ code: 'RUN_STATE' });
    const { id } = await client.call('evaluation.compare', {
      project: 'shop',
      targets: [`${run.id}@${run.checkpoints.find((each) => each.last)!.name}`, own.id],
      dataset: run.dataset!,
      samples: 0,
    });
    await app.core.jobs.settled(app.core.jobs.of('compare', id)!.id);
    const { result, error } = await client.call('evaluation.show', { comparison: id });
    expect(error).toBeNull();
    // The same adapter: the same loss.
    expect(result!.losses[1]!.loss.value).toBeCloseTo(result!.losses[0]!.loss.value, 5);
    const set = { maxSteps: 2, maxLength: 64, rank: 2, evalEvery: 0, saveEvery: 0 };
    const over = await client.call('runs.start', {
      project: 'shop',
      model: 'tiny',
      strategy: 'instruct',
      over: own.id,
      set,
    });
    await app.core.jobs.settled(app.core.jobs.of('train', over.id)!.id);
    expect(await client.call('runs.show', { run: over.id })).toMatchObject({
      state: 'completed',
      over: { run: own.id, checkpoint: 'imported' },
    });
    await expect(client.call('runs.delete', { run: own.id })).rejects.toMatchObject({ code: 'RUN_STATE' });
    await client.call('runs.delete', { run: over.id });
    await client.call('runs.delete', { run: own.id });
    // Comparisons still name it: its number is not given again.
    const next = await bring({ model: 'tiny', path: out('checkpoint-last') });
    expect(next.number).toBeGreaterThan(own.number);
  });
});
