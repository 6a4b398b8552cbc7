/** @file What a person is told to type to run an export, typed as it is printed: on the page, and in the README that travels with the files. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Export } from '../../main/contract/entities.ts';
import { writeModelGguf } from '../../main/formats/gguf/export.ts';
import { openModel } from '../../main/formats/open.ts';
import { writeExamples } from '../e2e/examples.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';

const MAIN = join(import.meta.dirname, '../../main/cli/main.ts');
const MERGED = 'shop-1-step-000006-merged';
/** For all exports, or all programs of one kind, on a machine that is slow and busy. */
const PATIENCE = 600_000;

interface Snippet {
  readonly name: string;
  readonly client: string;
  readonly lines: string;
  /** Where the person stands. */
  readonly cwd: string;
}
/** A command that was typed, as the shell understood it. */
interface Typed {
  readonly cwd: string;
  readonly program: string;
  readonly args: readonly string[];
}

describe.skipIf(process.platform === 'win32')('what to type', { timeout: PATIENCE }, () => {
  // A shell and three languages must take it for one word.
  const folder = mkdtempSync(join(tmpdir(), "fettle it's how-to "));
  const [home, work, bin] = [join(folder, 'home'), join(folder, 'work'), join(folder, 'bin')];
  const fettle = (...args: string[]): string =>
    execFileSync(process.execPath, [MAIN, '--home', home, '--threads', '1', ...args], {
      encoding: 'utf8',
      cwd: work,
      stdio: 'pipe',
    });
  const snippets: Snippet[] = [];

  /** Files of the base that commands name lie where the person stands. */
  function bringBase(cwd: string): void {
    for (const name of ['tiny', 'tiny.gguf', MERGED, `${MERGED}-gguf`])
      if (!existsSync(join(cwd, name))) symlinkSync(join(work, name), join(cwd, name));
  }
  function handOver(run: string, format: string, ...options: string[]): void {
    const name = [run, format, ...options].join(' ');
    const out = join(work, 'out', name);
    const made = JSON.parse(fettle('export', run, '--format', format, '--out', out, ...options, '--json')) as Export;
    for (const { client, lines } of made.howTo) snippets.push({ name, client, lines, cwd: work });
    const readme = readFileSync(join(out, 'README.md'), 'utf8').split('## How to run it')[1]!.split('\n## ')[0]!;
    for (const [, client, lines] of readme.matchAll(/### (.+)\n\n```\w+\n([^]*?)\n```/g))
      snippets.push({ name: `${name}, README`, client: client!, lines: lines!, cwd: out });
  }

  beforeAll(async () => {
    mkdirSync(work, { recursive: true });
    const tiny = await writeTinyModel(join(work, 'tiny'));
    const files = await openModel(tiny);
    await writeModelGguf(join(work, 'tiny.gguf'), files, 'f32', { name: 'tiny', license: null });
    await files.close();
    const formless = await writeTinyModel(join(work, 'formless'), { base: true });
    writeFileSync(join(work, 'text.txt'), 'The lamp hums, and the kettle waits for water.\n\n'.repeat(60));
    const set = ['maxSteps=6', 'maxLength=64', 'rank=2', 'evalEvery=0', 'saveEvery=0'].flatMap((each) => [
      '--set',
      each,
    ]);
    fettle('project', 'create', 'Shop');
    fettle('model', 'add', tiny, '--name', 'tiny');
    fettle('data', 'import', 'shop', await writeExamples(work));
    fettle('train', 'shop', '--model', 'tiny', '--strategy', 'instruct', ...set);
    fettle('train', 'shop', '--model', 'tiny', '--strategy', 'instruct', '--over', 'shop-1', ...set);
    fettle('project', 'create', 'Reading');
    fettle('model', 'add', formless, '--name', 'formless');
    fettle('data', 'import', 'reading', join(work, 'text.txt'));
    fettle('train', 'reading', '--model', 'formless', '--strategy', 'non-instruct', ...set);
    for (const format of ['adapter', 'gguf-adapter', 'safetensors', 'gguf', 'ollama', 'onnx'])
      handOver('shop-1', format);
    handOver('shop-1', 'adapter', '--with-base');
    handOver('shop-2', 'adapter', '--alone');
    handOver('shop-2', 'gguf-adapter', '--alone');
    for (const format of ['safetensors', 'gguf', 'onnx']) handOver('reading-1', format);
    // What stands as a comment is what makes the base that the lines below it load.
    const base = new Set(
      snippets.flatMap(({ lines }) => [...lines.matchAll(/^# fettle (export .+)$/gm)].map(([, command]) => command!)),
    );
    expect([...base]).toHaveLength(2);
    for (const command of base) fettle(...command.split(' '));
    for (const { cwd } of snippets) bringBase(cwd);
  }, PATIENCE);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const of = (...clients: string[]): Snippet[] => snippets.filter(({ client }) => clients.includes(client));
  /** In the file that a person would make of it. */
  function scriptOf({ lines }: Snippet, i: number, where: string, end: string): string {
    mkdirSync(where, { recursive: true });
    const path = join(where, `snippet-${i}.${end}`);
    writeFileSync(path, `${lines}\n`);
    return path;
  }

  it('names no program but those that are tried here', () => {
    expect(new Set(snippets.map(({ client }) => client))).toEqual(
      new Set([
        'transformers',
        'vLLM',
        'llama.cpp',
        'Node',
        'LM Studio',
        'Ollama',
        'transformers.js',
        'onnxruntime-genai',
      ]),
    );
  });

  it('in Python runs: transformers, peft, onnxruntime-genai', (test) => {
    const python = need(test, 'oracle', found.python);
    const asked = of('transformers', 'onnxruntime-genai');
    expect(asked).toHaveLength(14);
    const [request, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
    const scripts = asked.map((each, i) => ({
      script: scriptOf(each, i, join(folder, 'python'), 'py'),
      cwd: each.cwd,
    }));
    writeFileSync(request, JSON.stringify(scripts));
    runOracle(python, 'snippets.py', [request, answer]);
    const said = JSON.parse(readFileSync(answer, 'utf8')) as { out: string; error: string | null }[];
    for (const [i, { name, client }] of asked.entries()) {
      expect([name, client, said[i]!.error]).toEqual([name, client, null]);
      expect([name, said[i]!.out.length > 1]).toEqual([name, true]);
    }
  });

  /** Beside the packages that it imports, as `npm install` would have put them. */
  function runNode(asked: readonly Snippet[], packages: string): void {
    const where = join(folder, `node-${asked[0]!.client}`);
    mkdirSync(where);
    symlinkSync(join(packages, 'node_modules'), join(where, 'node_modules'));
    for (const [i, each] of asked.entries()) {
      const out = execFileSync(process.execPath, [scriptOf(each, i, where, 'mjs')], {
        cwd: each.cwd,
        encoding: 'utf8',
        stdio: 'pipe',
        timeout: 120_000,
      });
      expect([each.name, out.length > 1]).toEqual([each.name, true]);
    }
  }
  it('in Node runs: node-llama-cpp', (test) => runNode(of('Node'), need(test, 'llama.cpp', found.llamaCpp)));
  it('in Node runs: transformers.js', (test) =>
    runNode(of('transformers.js'), need(test, 'transformers.js', found.transformersJs)));

  it('in a shell is taken as it is meant, and names files that are there', () => {
    mkdirSync(bin);
    for (const program of ['llama-cli', 'llama-server', 'vllm', 'lms', 'ollama', 'curl']) {
      writeFileSync(
        join(bin, program),
        `#!/bin/sh\nprintf '%s\\0' "$PWD" "\${0##*/}" "$@" >> "$TYPED"; printf '\\1' >> "$TYPED"\n`,
      );
      chmodSync(join(bin, program), 0o755);
    }
    const asked = of('vLLM', 'llama.cpp', 'LM Studio', 'Ollama');
    for (const [i, each] of asked.entries()) {
      const log = join(folder, `typed-${i}`);
      execFileSync('bash', ['-eu', scriptOf(each, i, join(folder, 'shell'), 'sh')], {
        cwd: each.cwd,
        env: { PATH: `${bin}:/usr/bin:/bin`, TYPED: log },
      });
      const typed = readFileSync(log, 'utf8')
        .split('\x01')
        .filter(Boolean)
        .map((line): Typed => {
          const [cwd = '', program = '', ...args] = line.split('\0').slice(0, -1);
          return { cwd, program, args };
        });
      expect([each.name, faultsIn(typed)]).toEqual([each.name, []]);
    }
  });
});

/** What the programs would complain of. */
function faultsIn(typed: readonly Typed[]): string[] {
  const faults: string[] = [];
  let served = '';
  for (const { cwd, program, args } of typed) {
    const after = (option: string): string | undefined => args[args.indexOf(option) + 1];
    const there = (path: string | undefined): void => {
      if (path === undefined || !existsSync(resolve(cwd, path))) faults.push(`${program}: there is no ${path}`);
    };
    switch (program) {
      case 'llama-cli':
      case 'llama-server':
        there(after('-m'));
        if (args.includes('--lora')) there(after('--lora'));
        served = after('-m')!.replace(/^.*\/|\.gguf$/g, '');
        break;
      case 'vllm': {
        const adapter = args.includes('--enable-lora') ? after('--lora-modules') : undefined;
        there(args[1]);
        if (adapter) there(adapter.replace(/^tuned=/, ''));
        served = adapter ? 'tuned' : args[1]!;
        break;
      }
      case 'lms':
        there(args[1]);
        break;
      case 'ollama':
        if (args[0] !== 'create') break;
        there(after('-f'));
        there(/^FROM (.+)$/m.exec(readFileSync(resolve(cwd, after('-f')!), 'utf8'))?.[1]);
        break;
      case 'curl': {
        const { model } = JSON.parse(after('-d')!) as { model: string };
        if (model !== served) faults.push(`curl asks for ${model}, and ${served} is served`);
        if (!/^http:\/\/127\.0\.0\.1:80[08]0\/v1\/(chat\/)?completions$/.test(args[0]!)) faults.push(args[0]!);
      }
    }
  }
  return faults;
}
