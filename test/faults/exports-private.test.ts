/** @file Nothing of the machine or the data is in what is handed over: every byte that leaves is searched, on a machine whose names cannot be mistaken. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import { ExportFormat } from '../../main/contract/entities.ts';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { found } from '../support/needs.ts';
import { traces } from '../support/private.ts';

const MAIN = join(import.meta.dirname, '../../main/cli/main.ts');
const APP = join(import.meta.dirname, '../../main/hosts/app.ts');
const [FOLDER, USER, HOST] = ['zq-quokka-house', 'zq-wombat-user', 'zq-numbat-host'] as const;

describe('what is handed over', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-private-'));
  const home = join(folder, FOLDER);
  const env = {
    ...process.env,
    HOME: home,
    USERPROFILE: home,
    USER,
    LOGNAME: USER,
    USERNAME: USER,
    HOSTNAME: HOST,
    FETTLE_HOME: join(home, 'fettle'),
    FETTLE_LLAMA_CPP: found.llamaCpp ?? '',
    // What programs ask the system for is answered so too, in every process.
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
      `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';
       os.hostname = () => '${HOST}'; os.userInfo = () => ({ username: '${USER}', homedir: '${home}', uid: 1, gid: 1, shell: null });
       syncBuiltinESMExports();`,
    )}`,
  };
  const fettle = (...args: string[]): string =>
    execFileSync(process.execPath, [MAIN, '--threads', '1', ...args], {
      env,
      encoding: 'utf8',
      cwd: home,
      stdio: 'pipe',
    });
  let row = '';
  beforeAll(async () => {
    mkdirSync(home, { recursive: true });
    const examples = await writeExamples(home);
    row = (JSON.parse(readFileSync(examples, 'utf8').split('\n')[0]!) as Record<string, string>)['instruction'] ?? '';
    expect(row.length).toBeGreaterThan(10);
    const model = await writeTinyModel(join(home, 'tiny'));
    // As tools write it: where the model lay.
    const config = join(model, 'config.json');
    writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), _name_or_path: model }));
    fettle('project', 'create', 'Shop');
    fettle('model', 'add', model, '--name', 'tiny');
    fettle('data', 'import', 'shop', examples);
    const set = ['maxSteps=6', 'maxLength=64', 'rank=2', 'saveEvery=0', 'evalEvery=0'].flatMap((each) => [
      '--set',
      each,
    ]);
    fettle('train', 'shop', '--model', 'tiny', '--strategy', 'instruct', ...set);
    // An adapter of others says where its base lay.
    fettle('export', 'shop-1', '--format', 'adapter', '--out', join(home, 'foreign'));
    const adapter = join(home, 'foreign', 'adapter_config.json');
    const stated = JSON.parse(readFileSync(adapter, 'utf8')) as Record<string, unknown>;
    writeFileSync(adapter, JSON.stringify({ ...stated, base_model_name_or_path: model }));
    fettle('run', 'import', 'shop', join(home, 'foreign'), '--model', 'tiny', '--name', 'Of others');
    // A run that begins from it keeps its folder in the recipe.
    fettle(
      'train',
      'shop',
      '--model',
      'tiny',
      '--strategy',
      'instruct',
      '--init-adapter',
      join(home, 'foreign'),
      ...set.slice(0, 4),
      '--set',
      'saveEvery=0',
    );
    fettle('train', 'shop', '--model', 'tiny', '--strategy', 'instruct', '--over', 'shop-1', ...set);
    fettle('compare', 'tiny', 'shop-1', '--answers', '2');
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What must not be found in any of it. */
  const machine = [FOLDER, USER, HOST, folder, `${tmpdir()}/`];
  const tracesIn = (path: string, words: readonly string[]): string[] => traces(readFileSync(path), words);

  it.for([
    ...ExportFormat.options.map((format) => ['shop-1', format] as const),
    ['shop-1', 'adapter', '--with-base'] as const,
    ['shop-2', 'adapter'] as const,
    ['shop-3', 'safetensors'] as const,
    ['shop-4', 'adapter'] as const,
    ['shop-4', 'adapter', '--alone'] as const,
    ['shop-4', 'gguf-adapter', '--alone'] as const,
  ])('%s as %s tells no path, user, host or row', { timeout: 300_000 }, ([run, format, ...options]) => {
    const out = join(home, 'out', [run, format, ...options].join(' '));
    fettle('export', run, '--format', format, '--out', out, ...options);
    const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['README.md', 'proof.json', 'recipe.json']) as string[],
    );
    for (const { parentPath, name } of files)
      expect([name, tracesIn(join(parentPath, name), [...machine, row])]).toEqual([name, []]);
  });

  it('the report, answered files and blind tests tell nothing of the machine', { timeout: 300_000 }, () => {
    const out = (name: string): string => join(home, name);
    fettle('report', 'shop-1', '--out', out('report.html'));
    writeFileSync(out('ask.jsonl'), ['One', 'Two'].map((prompt) => JSON.stringify({ prompt })).join('\n'));
    for (const end of ['jsonl', 'csv', 'tsv'])
      fettle('answer', 'shop-1', out('ask.jsonl'), '--out', out(`answered.${end}`), '--max-tokens', '8');
    // Votes are given at the keys: here by the same program without them.
    const votes = `
      const { createApp } = await import(${JSON.stringify(pathToFileURL(APP).href)});
      const { writeFileSync } = await import('node:fs');
      const app = createApp({ home: process.env.FETTLE_HOME, kind: 'command', threads: 1 });
      const { client } = app;
      const { id } = await client.call('blind.start', { project: 'shop', targets: ['tiny', 'shop-1'], most: 2, sampling: { maxTokens: 4 } });
      let test = await client.call('blind.show', { blind: id });
      while (test.next === null) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        test = await client.call('blind.show', { blind: id });
      }
      await client.call('blind.vote', { blind: id, number: 1, vote: 'one', why: 'shorter' });
      await client.call('blind.reveal', { blind: id });
      await app.close();
      process.exit(0);`;
    execFileSync(process.execPath, ['--input-type=module', '-e', votes], { env, cwd: home, stdio: 'pipe' });
    for (const end of ['csv', 'json']) fettle('blind', 'export', 'shop-blind-1', '--out', out(`votes.${end}`));
    const files = ['report.html', 'answered.jsonl', 'answered.csv', 'answered.tsv', 'votes.csv', 'votes.json'];
    for (const name of files) expect([name, tracesIn(out(name), machine)]).toEqual([name, []]);
  });
});

describe('the search', () => {
  const WORD = 'zq-quokka-house';
  const around = (text: string): string[] => ['', 'a', 'ab'].map((before) => `${before}${text} and more`);
  it.each<[string, Buffer]>([
    ['plainly', Buffer.from(`x ${WORD.toUpperCase()}`)],
    ['as UTF-16', Buffer.from(WORD, 'utf16le')],
    ['as UTF-16 of the other order', Buffer.from(WORD, 'utf16le').swap16()],
    ...around(WORD).map(
      (text, i) => [`as base64, ${i}`, Buffer.from(Buffer.from(text).toString('base64'))] as [string, Buffer],
    ),
    ['as digits', Buffer.from(Buffer.from(WORD).toString('hex'))],
    ['in gzip', gzipSync(WORD)],
  ])('finds a word that stands there %s', (_, bytes) => {
    expect(traces(bytes, [WORD])).not.toEqual([]);
  });

  it('finds a word in a ZIP, and none where there is none', async () => {
    const zip = new ZipFile();
    zip.addBuffer(Buffer.from(`${WORD} `.repeat(50)), 'a.txt');
    zip.end();
    const parts: Buffer[] = [];
    for await (const part of zip.outputStream) parts.push(part as Buffer);
    expect(traces(Buffer.concat(parts), [WORD])).toContain(`${WORD} as UTF-8, in a ZIP`);
    expect(traces(Buffer.from('zq-quokka-hous'), [WORD])).toEqual([]);
  });
});
