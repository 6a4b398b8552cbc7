/** @file The command as it is run: its words, its exit codes, its JSON, and the curve it draws. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { drawCurve } from './curve.ts';
import { bytes, duration, wrap } from './format.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-cli-'));
const home = join(folder, 'home');
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}
function begin(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    env: { ...process.env, FETTLE_HOME: home },
  });
  children.push(child);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err }))) };
}
const fettle = (...args: string[]): Promise<Ended> => begin(...args).ended;
const json = async (...args: string[]): Promise<unknown> =>
  JSON.parse((await fettle(...args, '--json')).out) as unknown;

describe('the command', () => {
  it('helps', async () => {
    expect(await fettle()).toMatchObject({ code: 0, out: expect.stringContaining('fettle COMMAND') as unknown });
    expect(await fettle('train', '--help')).toMatchObject({
      code: 0,
      out: expect.stringContaining('--estimate') as unknown,
    });
  });

  it.each([
    ['no such command', ['fly'], 'USAGE'],
    ['an unknown option', ['doctor', '--fast'], 'USAGE'],
    ['an argument too few', ['project', 'show'], 'USAGE'],
    ['a project that is not there', ['project', 'show', 'none'], 'PROJECT_NOT_FOUND'],
    ['a file that is not there', ['model', 'add', '/no/such/file.gguf'], 'FILE_NOT_FOUND'],
    ['deleting without saying so', ['project', 'delete', 'x'], 'CONFIRM_NEEDED'],
    ['an export that is not there', ['export', 'delete', 'x', '--yes'], 'INPUT_INVALID'],
    ['a port that is none', ['serve', '--port', '99999'], 'USAGE'],
  ])('says what was wrong: %s', async (_, args, code) => {
    const { code: exit, err } = await fettle(...args);
    expect(exit).toBe(2);
    expect(err).toMatch(new RegExp(`^error ${code}: `, 'm'));
  });

  it('gives the error as an object with --json', async () => {
    expect(await json('project', 'show', 'none')).toMatchObject({
      type: 'error',
      error: { code: 'PROJECT_NOT_FOUND' },
    });
  });
});

describe('the path by command', () => {
  let model = '';
  beforeAll(async () => {
    expect(await fettle('project', 'create', 'Replies')).toMatchObject({ code: 0 });
    model = ((await json('model', 'add', await writeTinyModel(join(folder, 'tiny')))) as { id: string }).id;
    expect(await json('data', 'import', 'replies', await writeExamples(folder))).toMatchObject({ kind: 'instruction' });
  });

  it('refuses files with nothing in them, and keeps what is there', async () => {
    writeFileSync(join(folder, 'empty.jsonl'), '');
    writeFileSync(join(folder, 'bad.gguf'), 'GGUF\u0003');
    expect((await fettle('data', 'import', 'replies', join(folder, 'empty.jsonl'))).err).toMatch(
      /FILE_EMPTY|DATA_EMPTY/,
    );
    expect(await fettle('model', 'add', join(folder, 'bad.gguf'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('FILE_TRUNCATED') as unknown,
    });
    expect(await json('model', 'list')).toHaveLength(1);
  });

  it('refuses recipes that are wrong, naming what was meant', async () => {
    expect((await fettle('train', 'replies', '--model', model, '--set', 'learnngRate=1')).err).toMatch(
      /RECIPE_INVALID.*\n.*learningRate/,
    );
    expect((await fettle('train', 'replies', '--model', model, '--set', 'rank=0')).err).toMatch(/RECIPE_INVALID/);
  });

  it('trains with one event a line and the result last, compares, answers and exports', async () => {
    const { code, out } = await fettle(
      'train',
      'replies',
      '--model',
      model,
      '--strategy',
      'instruct',
      '--set',
      'maxSteps=6',
      '--set',
      'maxLength=128',
      '--json',
    );
    expect(code).toBe(0);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(lines.filter(({ type }) => type === 'step')).toHaveLength(6);
    expect(lines.at(-1)).toMatchObject({ type: 'result', state: 'completed', run: 'replies-1', steps: 6 });

    expect(await json('compare', model, 'replies-1', '--answers', '1')).toMatchObject({
      state: 'completed',
      result: { losses: [{}, {}], samples: [{ answers: [{}, {}] }] },
      verdicts: [{ target: 'replies-1' }],
    });
    expect(
      await json('evaluate', 'replies-1', '--suite', 'task', '--answers', '2', '--check', 'length:1-20'),
    ).toMatchObject({
      result: { suites: [{ name: 'task', items: 2 }], models: [{ run: { number: 1 } }] },
      verdicts: [],
    });
    expect(await json('compare', 'list', 'replies')).toMatchObject([
      { id: 'replies-compare-2', state: 'completed' },
      { id: 'replies-compare-1' },
    ]);
    expect(await json('compare', 'show', 'replies-compare-1')).toMatchObject({ verdicts: [{ target: 'replies-1' }] });
    const items = await fettle('compare', 'show', 'replies-compare-2', '--items');
    expect(items).toMatchObject({ code: 0, out: expect.stringMatching(/Your task \(2\)[^]*Expected:/) as unknown });
    expect(await fettle('compare', 'show', 'replies-compare-9')).toMatchObject({ code: 2 });
    expect(await fettle('evaluate', 'replies-1', '--suite', 'all')).toMatchObject({
      code: 2,
      err: expect.stringContaining('held-out, task, general, prose') as unknown,
    });
    for (const [option, value, words] of [
      ['--answers', '999', '--answers takes a whole number from 0 to 200'],
      ['--check', 'length:some', 'length:some names no length'],
    ] as const)
      expect(await fettle('evaluate', 'replies-1', option, value)).toMatchObject({
        code: 2,
        err: expect.stringContaining(words) as unknown,
      });
    expect(await fettle('report', 'replies-1', '--out', join(folder, 'nowhere', 'report.html'))).toMatchObject({
      code: 2,
      err: expect.stringMatching(/FILE_NOT_FOUND: The folder .*nowhere does not exist/) as unknown,
    });
    const report = join(folder, 'report.html');
    expect(await json('report', 'replies-1', '--out', report)).toMatchObject({ file: report });
    expect(await fettle('report', 'replies-1', '--out', report)).toMatchObject({
      code: 2,
      err: expect.stringContaining('TARGET_EXISTS') as unknown,
    });
    expect((await fettle('report', 'replies-1', '--out', report, '--force')).code).toBe(0);
    expect(await json('generate', 'replies-1', '--prompt', 'Hello', '--max-tokens', '4')).toMatchObject({
      target: 'replies-1',
    });
    for (const format of ['adapter', 'safetensors'])
      expect(await json('export', 'replies-1', '--format', format, '--out', join(folder, format))).toMatchObject({
        state: 'completed',
        proof: { verdict: 'equal' },
      });
    const listed = (await json('export', 'list', 'replies')) as { format: string }[];
    expect(listed.map(({ format }) => format).sort()).toEqual(['adapter', 'safetensors']);
    expect(await fettle('export', 'list', 'replies')).toMatchObject({
      code: 0,
      out: expect.stringContaining('replies-1') as unknown,
    });
    const [{ id }] = (await json('export', 'list', 'replies')) as [{ id: string }];
    expect(await json('export', 'show', id)).toMatchObject({ id, proof: { verdict: 'equal' } });
    const told = await fettle('export', 'show', id);
    expect(told.out).toContain('Proof: read by Fettle');
    expect(told.out).toContain('transformers');
    expect(await fettle('export', 'show', 'replies-export-99')).toMatchObject({ code: 2 });
    expect(await fettle('export', 'replies-1', '--format', 'adapter', '--out', join(folder, 'adapter'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('TARGET_EXISTS') as unknown,
    });
  });

  it('attaches to the host of a home: a run is paused from a second terminal', async () => {
    const { child, ended } = begin(
      'train',
      'replies',
      '--model',
      model,
      '--set',
      'maxSteps=4000',
      '--set',
      'evalEvery=0',
      '--set',
      'maxLength=128',
      '--json',
    );
    await new Promise<void>((resolve) =>
      child.stdout!.on('data', (text: string) => text.includes('"type":"step"') && resolve()),
    );
    expect(await json('run', 'list')).toMatchObject([{ id: 'replies-2', state: 'running' }, {}]);
    expect(await fettle('serve', '--no-open')).toMatchObject({
      code: 2,
      err: expect.stringContaining('HOME_LOCKED') as unknown,
    });
    expect(await fettle('run', 'pause', 'replies-2')).toMatchObject({ code: 0 });
    await ended;
    expect(await json('run', 'show', 'replies-2')).toMatchObject({ state: 'paused' });
  });

  it('pauses at Ctrl-C and says how to go on', async () => {
    const { child, ended } = begin('run', 'resume', 'replies-2', '--json');
    await new Promise<void>((resolve) =>
      child.stdout!.on('data', (text: string) => text.includes('"type":"step"') && resolve()),
    );
    child.kill('SIGINT');
    expect(await ended).toMatchObject({
      code: 130,
      err: expect.stringContaining('fettle run resume replies-2') as unknown,
    });
    expect(await json('run', 'show', 'replies-2')).toMatchObject({ state: 'paused' });
    expect(await fettle('run', 'cancel', 'replies-2')).toMatchObject({ code: 0 });
  });
});

describe('the curve', () => {
  it('has its scale, its line and its marks', () => {
    const line = Array.from({ length: 50 }, (_, x) => ({ x, y: 4 * Math.exp(-x / 10) }));
    const drawn = drawCurve(
      line,
      [
        { x: 0, y: 4 },
        { x: 49, y: 1 },
      ],
      { width: 20, height: 5 },
    );
    const rows = drawn.split('\n');
    expect(rows).toHaveLength(7);
    expect(rows[0]).toMatch(/^4\.00 ┤●/);
    expect(drawn.match(/●/g)).toHaveLength(2);
    expect(rows.at(-1)).toMatch(/^ +0 +49$/);
  });

  it('bears one point, none, and numbers that are none', () => {
    expect(drawCurve([], [])).toBe('');
    expect(drawCurve([{ x: 1, y: NaN }], [])).toBe('');
    expect(drawCurve([{ x: 1, y: 2 }], [])).toContain('┤');
  });
});

describe('words for people', () => {
  it('have units', () => {
    expect([bytes(999), bytes(1500), bytes(2_040_000_000), duration(59), duration(3700)]).toEqual([
      '999 B',
      '1.5 kB',
      '2.04 GB',
      '59 s',
      '1 h 1 min',
    ]);
    expect(wrap('a bb ccc', '  ', 6)).toBe('  a bb\n  ccc');
  });
});
