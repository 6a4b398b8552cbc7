/** @file Talking to models by command: lines in, answers out; a file; keys; an address that closes with Ctrl-C. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { AnswerFile, BlindTest, Chat, Endpoint } from '../contract/entities.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-cli-talk-'));
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
/** @param input what is typed. */
function begin(input: string, ...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    env: { ...process.env, FETTLE_HOME: join(folder, 'home') },
  });
  children.push(child);
  child.stdin.end(input);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err }))) };
}
const typed = (input: string, ...args: string[]): Promise<Ended> => begin(input, ...args).ended;
const json = async <T>(input: string, ...args: string[]): Promise<T> =>
  JSON.parse((await typed(input, ...args, '--json')).out) as T;

beforeAll(async () => {
  await typed('', 'project', 'create', 'Talk');
  for (const [name, seed] of [
    ['first', 7],
    ['second', 9],
  ] as const)
    await typed('', 'model', 'add', await writeTinyModel(join(folder, name), { seed }), '--name', name);
});

describe('talking by command', () => {
  it('lines are turns of a conversation, which is kept and gone on with', async () => {
    const about = ['--project', 'talk', '--max-tokens', '5'];
    const chat = await json<Chat>('Hello\n\nAnd then?\n', 'chat', 'first', 'second', ...about);
    expect(chat.turns.map(({ prompt, answers }) => [prompt, answers.length])).toEqual([
      ['Hello', 2],
      ['And then?', 2],
    ]);
    const more = await json<Chat>('More\n', 'chat', 'open', chat.id);
    expect(more).toMatchObject({ id: chat.id, sampling: { maxTokens: 5 }, turns: [{}, {}, { prompt: 'More' }] });
    expect((await typed('', 'chat', 'list', 'talk')).out).toContain('talk-chat-1');
    expect((await typed('x\n', 'chat', 'first')).err).toMatch(/^error USAGE: .*\n.*--project/m);
  });

  it('a file comes back with its answers, and nothing is written over', async () => {
    const input = join(folder, 'in.csv');
    writeFileSync(input, 'id,question\n1,One\n2,Two\n');
    const answered = await json<AnswerFile>('', 'answer', 'first', input, '--max-tokens', '4');
    expect(answered).toMatchObject({ state: 'completed', done: 2, out: join(folder, 'in.answered.csv') });
    expect(readFileSync(answered.out, 'utf8').split('\n')[0]).toBe('id,question,answer,answer_note');
    expect(await typed('', 'answer', 'first', input)).toMatchObject({
      code: 2,
      err: expect.stringContaining('TARGET_EXISTS') as unknown,
    });
    expect(await typed('', 'answer', 'first', input, '--force', '--max-tokens', '2')).toMatchObject({ code: 0 });
    expect((await typed('', 'answer', 'first', input, '--column', 'none')).err).toMatch(
      /INPUT_INVALID.*none.*\n.*question/,
    );
  });

  it('keys judge without names; what was judged is left and gone on with', async () => {
    const prompts = join(folder, 'prompts.txt');
    writeFileSync(prompts, 'One\nTwo\n\nThree\n');
    const begun = ['blind', 'first', 'second', '--project', 'talk', '--prompts', prompts, '--max-tokens', '4'];
    const left = await json<BlindTest>('1\nu\n2\nq\n', ...begun);
    expect(left).toMatchObject({ prompts: 3, count: { votes: 1 }, reveal: null });
    const ended = await typed('0\n1\n', 'blind', 'resume', left.id);
    expect(ended).toMatchObject({ code: 0, out: expect.stringMatching(/2 to 0|1 to 1/) as unknown });
    const [test] = await json<BlindTest[]>('', 'blind', 'list', 'talk');
    expect(test?.reveal?.items.map(({ vote }) => vote)).toEqual(['two', 'tie', 'one']);
    const out = join(folder, 'votes.csv');
    expect(await typed('', 'blind', 'export', left.id, '--out', out)).toMatchObject({ code: 0 });
    expect(readFileSync(out, 'utf8').split('\n')).toHaveLength(5);
  });

  it('an address is open until Ctrl-C', async () => {
    const { child, ended } = begin('', 'serve-model', 'first', '--json');
    const open = await new Promise<Endpoint>((resolve) => {
      let text = '';
      child.stdout!.on('data', (chunk: string) => {
        text += chunk;
        if (text.trimEnd().endsWith('}')) resolve(JSON.parse(text) as Endpoint);
      });
    });
    const headers = { authorization: `Bearer ${open.token}` };
    expect(await (await fetch(`${open.address}/models`, { headers })).json()).toMatchObject({
      data: [{ id: 'first' }],
    });
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130 });
    await expect(fetch(`${open.address}/models`, { headers })).rejects.toThrow();
  });
});
