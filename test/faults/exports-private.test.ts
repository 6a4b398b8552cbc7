/** @file Nothing of the machine or the data is in what is handed over: every byte of every format is searched, on a machine whose names cannot be mistaken. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExportFormat } from '../../main/contract/entities.ts';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { found } from '../support/needs.ts';

const MAIN = join(import.meta.dirname, '../../main/cli/main.ts');
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
    fettle('compare', 'tiny', 'shop-1', '--answers', '2');
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.for([
    ...ExportFormat.options.map((format) => ['shop-1', format] as const),
    ['shop-1', 'adapter', '--with-base'] as const,
    ['shop-2', 'adapter'] as const,
    ['shop-3', 'safetensors'] as const,
  ])('%s as %s tells no path, user, host or row', { timeout: 300_000 }, ([run, format, ...options]) => {
    const out = join(home, 'out', [run, format, ...options].join(' '));
    fettle('export', run, '--format', format, '--out', out, ...options);
    const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(3);
    for (const { parentPath, name } of files) {
      const bytes = readFileSync(join(parentPath, name));
      for (const word of [FOLDER, USER, HOST, folder, tmpdir() + '/', row])
        for (const encoding of ['utf8', 'utf16le'] as const)
          expect([name, word, bytes.includes(Buffer.from(word, encoding))]).toEqual([name, word, false]);
    }
  });
});
