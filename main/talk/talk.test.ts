/** @file Talking to tiny models: conversations that are kept, files that are answered, votes without names, and what goes wrong in between. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import type { GenerationEvent, InputOf } from '../contract/api.ts';
import type { AnswerFile, BlindTest, Chat } from '../contract/entities.ts';
import { readRows, ROWS_FILE } from '../datasets/rows.ts';
import { createApp, type App } from '../hosts/app.ts';
import { firstPlaces } from './blind.ts';
import { moreColumn, questionIn } from './inputs.ts';
import { delimited } from './outputs.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-talk-'));
const project = 'talk';
let app: App;
const settled = async (job: { id: string }): Promise<unknown> => app.core.jobs.settled(job.id);
beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const { client } = app;
  await client.call('projects.create', { name: 'Talk' });
  for (const [name, seed] of [
    ['first', 7],
    ['second', 9],
    ['third', 11],
  ] as const)
    await settled(await client.call('models.add', { path: await writeTinyModel(join(folder, name), { seed }), name }));
  await settled(await client.call('datasets.import', { project, paths: [await writeExamples(folder)] }));
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

/** All that is told of an answer, to its end. */
const heard = (id: string): Promise<GenerationEvent[]> =>
  new Promise((resolve) => {
    const events: GenerationEvent[] = [];
    app.client.subscribe(`generation:${id}`, 0, (_, event) => {
      events.push(event);
      if (event.type !== 'piece') resolve(events);
    });
  });
async function whole(chat: Chat): Promise<Chat> {
  for (const { generation } of chat.turns.at(-1)!.answers) if (generation !== null) await heard(generation);
  return app.client.call('chats.show', { chat: chat.id });
}
const send = async (input: Omit<InputOf<'chats.send'>, 'project'>): Promise<Chat> =>
  whole(await app.client.call('chats.send', { sampling: { maxTokens: 6 }, ...input, project }));
const texts = ({ turns }: Chat): (string | undefined)[][] =>
  turns.map(({ answers }) => answers.map(({ answer }) => answer?.text));

describe('a conversation', () => {
  it('goes on from what was said, as the same history asked at once does', async () => {
    const first = await send({ targets: ['first'], prompt: 'Hello there', system: 'Be short.' });
    expect(first).toMatchObject({ id: 'talk-chat-1', title: 'Hello there', system: 'Be short.', targets: ['first'] });
    const second = await send({ chat: first.id, targets: ['first'], prompt: 'And then?', system: 'Be short.' });
    const { id } = await app.client.call('generate.start', {
      target: 'first',
      prompt: 'And then?',
      system: 'Be short.',
      history: [
        { role: 'user', content: 'Hello there' },
        { role: 'assistant', content: texts(first)[0]![0]! },
      ],
      sampling: { maxTokens: 6 },
    });
    expect((await heard(id)).at(-1)).toMatchObject({ type: 'done', answer: { text: texts(second)[1]![0] } });
    const { context } = second.turns[1]!.answers[0]!;
    expect(context!.used).toBeGreaterThan(first.turns[0]!.answers[0]!.context!.used);
    expect(context!.most).toBe(512);
  });

  it('with several: each keeps to what it said itself, and who joins hears the first one', async () => {
    const both = await send({ targets: ['first', 'second'], prompt: 'Hello' });
    const next = await send({ chat: both.id, targets: ['first', 'second', 'third'], prompt: 'Go on' });
    const alone = async (target: string, said: string): Promise<unknown> => {
      const history = [
        { role: 'user' as const, content: 'Hello' },
        { role: 'assistant' as const, content: said },
      ];
      const { id } = await app.client.call('generate.start', {
        target,
        prompt: 'Go on',
        history,
        sampling: { maxTokens: 6 },
      });
      const last = (await heard(id)).at(-1);
      return last?.type === 'done' ? last.answer.text : last;
    };
    const [one, two] = texts(both)[0]!;
    expect(one).not.toBe(two);
    expect(texts(next)[1]).toEqual([
      await alone('first', one!),
      await alone('second', two!),
      await alone('third', one!),
    ]);
  });

  it('is listed, named, asked again, and gone when it is deleted', async () => {
    const chat = await send({ targets: ['first'], prompt: 'To be named' });
    const again = await whole(await app.client.call('chats.again', { chat: chat.id, target: 'second' }));
    expect(again.turns[0]!.answers.map(({ target }) => target)).toEqual(['first', 'second']);
    await app.client.call('chats.rename', { chat: chat.id, title: 'Named' });
    const [newest] = await app.client.call('chats.list', { project });
    expect(newest).toMatchObject({ id: chat.id, title: 'Named', turns: 1 });
    await app.client.call('chats.delete', { chat: chat.id });
    await expect(app.client.call('chats.show', { chat: chat.id })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('is stopped where it is, keeps what was said, and takes no second message meanwhile', async () => {
    const sampling = { maxTokens: 400, temperature: 1, seed: 4 };
    const begun = await app.client.call('chats.send', { project, targets: ['first'], prompt: 'Talk', sampling });
    await expect(
      app.client.call('chats.send', { project, chat: begun.id, targets: ['first'], prompt: 'More' }),
    ).rejects.toMatchObject({ message: expect.stringContaining('still being answered') as unknown });
    const generation = begun.turns[0]!.answers[0]!.generation!;
    await new Promise<void>((resolve) => {
      app.client.subscribe(`generation:${generation}`, 0, (_, event) => event.type === 'piece' && resolve());
    });
    await app.client.call('chats.stop', { chat: begun.id });
    const stopped = await whole(begun);
    expect(stopped.turns[0]!.answers[0]!.answer).toMatchObject({ stopReason: 'aborted' });
    expect(texts(stopped)[0]![0]).not.toBe('');
  });

  it('says that an answer was lost where Fettle was closed before it was whole', async () => {
    const chat = await send({ targets: ['first'], prompt: 'Kept' });
    app.core.db.prepare('UPDATE chat_answer SET answer = NULL, context = NULL WHERE chat = ?').run(chat.id);
    const { turns } = await app.client.call('chats.show', { chat: chat.id });
    expect(turns[0]!.answers[0]).toMatchObject({ generation: null, answer: null, error: { code: 'INTERRUPTED' } });
    const next = await send({ chat: chat.id, targets: ['first'], prompt: 'Go on' });
    expect(next.turns[1]!.answers[0]!.answer?.tokens).toBe(6);
  });

  it.skipIf(process.platform === 'win32')(
    'whose process is killed says so, and the next message is answered',
    async () => {
      const sampling = { maxTokens: 400, temperature: 1 };
      const begun = await app.client.call('chats.send', { project, targets: ['first'], prompt: 'Talk', sampling });
      const generation = begun.turns[0]!.answers[0]!.generation!;
      await new Promise<void>((resolve) => {
        app.client.subscribe(`generation:${generation}`, 0, (_, event) => event.type === 'piece' && resolve());
      });
      const pids = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'workers/generate'])
        .toString()
        .trim();
      for (const pid of pids.split('\n')) process.kill(Number(pid), 'SIGKILL');
      expect((await whole(begun)).turns[0]!.answers[0]!.error).toMatchObject({ code: 'WORKER_CRASHED' });
      const next = await send({ chat: begun.id, targets: ['first'], prompt: 'Still there?' });
      expect(next.turns[1]!.answers[0]!.answer?.tokens).toBe(6);
    },
  );

  it('two at once both get their answers, and a third model waits for its turn', async () => {
    const chats = await Promise.all(
      ['first', 'second', 'third', 'first'].map((target) =>
        app.client.call('chats.send', { project, targets: [target], prompt: 'At once', sampling: { maxTokens: 8 } }),
      ),
    );
    const ended = await Promise.all(chats.map(whole));
    expect(ended.map((chat) => chat.turns[0]!.answers[0]!.answer?.tokens)).toEqual([8, 8, 8, 8]);
    expect(texts(ended[0]!)).toEqual(texts(ended[3]!));
  });

  it('says clearly that a message is too long, or that a model is not there any more', async () => {
    const long = await send({ targets: ['first'], prompt: 'x'.repeat(600) });
    expect(long.turns[0]!.answers[0]!.error).toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(/\d+ tokens long, and this model reads 512/) as unknown,
    });
    await settled(
      await app.client.call('models.add', { path: await writeTinyModel(join(folder, 'leaving')), name: 'leaving' }),
    );
    const chat = await send({ targets: ['leaving'], prompt: 'Hello' });
    await app.client.call('models.delete', { model: 'leaving' });
    await expect(
      app.client.call('chats.send', { project, chat: chat.id, targets: ['leaving'], prompt: 'There?' }),
    ).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    // Beside others, it alone says so, and the conversation goes on.
    const next = await send({ chat: chat.id, targets: ['leaving', 'first'], prompt: 'Anybody?' });
    expect(next.turns.at(-1)!.answers.map(({ error, answer }) => error?.code ?? typeof answer)).toEqual([
      'MODEL_NOT_FOUND',
      'object',
    ]);
  });
});

const answered = async (input: Partial<InputOf<'answers.start'>>): Promise<AnswerFile> => {
  const begun = await app.client.call('answers.start', {
    target: 'first',
    input: '',
    sampling: { maxTokens: 5 },
    ...input,
  });
  await app.core.jobs.settled(begun.job!);
  return app.client.call('answers.show', { answers: begun.id });
};
/** Until the first rows of 240 are written. */
async function begin(input: Partial<InputOf<'answers.start'>>): Promise<AnswerFile> {
  const begun = await app.client.call('answers.start', { target: 'first', input: '', ...input });
  await new Promise<void>((resolve) => {
    app.client.subscribe(
      'jobs',
      0,
      (_, { job }) => job.id === begun.job && /[1-9]\d* of 240/.test(job.stage) && resolve(),
    );
  });
  return begun;
}
async function cancelled(input: Partial<InputOf<'answers.start'>>): Promise<AnswerFile> {
  const begun = await begin(input);
  await app.client.call('jobs.cancel', { job: begun.job! });
  await app.core.jobs.settled(begun.job!);
  return app.client.call('answers.show', { answers: begun.id });
}
/** What one is written to while it is not whole. */
function partialOf({ id }: AnswerFile): string {
  const { request } = app.core.db.prepare('SELECT request FROM answer_file WHERE id = ?').get(id) as {
    request: string;
  };
  return (JSON.parse(request) as { partial: string }).partial;
}
const childOf = (entry: string): number =>
  Number(execFileSync('pgrep', ['-n', '-P', String(process.pid), '-f', `workers/${entry}`]).toString());
const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const jsonl = (path: string): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('a file of inputs', () => {
  it('comes out with the same rows in the same order, as one by one they would be answered', async () => {
    const rows = Array.from({ length: 21 }, (_, i) => ({ id: i, prompt: `Question ${'so '.repeat(i % 5)}${i}` }));
    const input = write('many.jsonl', [...rows.map((row) => JSON.stringify(row)), '{bad', '{"id":9}'].join('\n'));
    const file = await answered({ input });
    expect(file).toMatchObject({ state: 'completed', rows: 23, done: 23, empty: 1, failed: 1, column: 'prompt' });
    const out = jsonl(file.out);
    expect(out.slice(0, 21).map(({ id, prompt }) => ({ id, prompt }))).toEqual(rows);
    expect(out[21]).toMatchObject({ answer: '', answer_note: expect.stringContaining('line 22') as unknown });
    expect(out[22]).toMatchObject({ id: 9, answer: '', answer_note: 'nothing was asked' });
    for (const i of [0, 4, 20]) {
      const { id } = await app.client.call('generate.start', {
        target: 'first',
        prompt: rows[i]!.prompt.trim(),
        sampling: { maxTokens: 5 },
      });
      const last = (await heard(id)).at(-1);
      expect(last?.type === 'done' && last.answer.text.trim()).toBe(out[i]!['answer']);
    }
  });

  it('as a table keeps its columns, whatever stands in them', async () => {
    const input = write('table.csv', 'id,question,answer\n1,"What, ""now""?\nReally",old\n2,Short,old\n');
    const out = join(folder, 'out.tsv');
    const file = await answered({ input, out });
    expect(file).toMatchObject({ state: 'completed', answerColumn: 'model_answer' });
    const [head, ...lines] = readFileSync(out, 'utf8').split('\n');
    expect(head).toBe('id\tquestion\tanswer\tmodel_answer\tmodel_answer_note');
    expect(lines.join('\n')).toContain('"What, ""now""?\nReally"\told\t');
  });

  it('that is cancelled keeps what was answered, and goes on from there to the same end', async () => {
    const rows = Array.from({ length: 240 }, (_, i) => JSON.stringify({ text: `Tell me of ${i}` }));
    const input = write('long.jsonl', rows.join('\n'));
    const sampling = { maxTokens: 40, temperature: 1, seed: 2 };
    const straight = await answered({ input, out: join(folder, 'straight.jsonl'), sampling });
    const cut = await cancelled({ input, out: join(folder, 'cut.jsonl'), sampling });
    expect(cut.state).toBe('cancelled');
    expect(cut.done).toBeGreaterThan(0);
    expect(jsonl(cut.out)).toEqual(jsonl(straight.out).slice(0, cut.done));
    // As a power cut leaves it: under its unfinished name, with a piece of a row behind what is known to be written.
    const partial = partialOf(cut);
    renameSync(cut.out, partial);
    appendFileSync(partial, '{"text":"torn');
    const resumed = await app.client.call('answers.resume', { answers: cut.id });
    await app.core.jobs.settled(resumed.job!);
    expect(readFileSync(cut.out, 'utf8')).toBe(readFileSync(straight.out, 'utf8'));
    expect(existsSync(partial)).toBe(false);
    await expect(app.client.call('answers.resume', { answers: cut.id })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
  });

  it('never touches a file that is not as it was put down, nor one of another’s', async () => {
    const input = write('owned.jsonl', Array.from({ length: 240 }, (_, i) => `{"text":"Tell me of ${i}"}`).join('\n'));
    const out = join(folder, 'owned-out.jsonl');
    // A file of one’s own that has the name which an unfinished one might have.
    write('owned-out.jsonl.part', 'my own');
    const cut = await cancelled({ input, out, sampling: { maxTokens: 40 } });
    const put = readFileSync(out, 'utf8');
    expect(cut.done).toBeGreaterThan(0);

    // Edited; and the output of another, which is longer.
    for (const text of [put.replace('answer', 'edited'), put + put]) {
      writeFileSync(out, text);
      await expect(app.client.call('answers.resume', { answers: cut.id })).rejects.toMatchObject({
        code: 'INPUT_INVALID',
        message: expect.stringContaining('was changed since') as unknown,
        hint: expect.stringContaining('anew') as unknown,
      });
      expect(readFileSync(out, 'utf8')).toBe(text);
    }
    rmSync(out);
    await expect(app.client.call('answers.resume', { answers: cut.id })).rejects.toMatchObject({
      message: expect.stringContaining('not at') as unknown,
    });

    // One that waits to go on keeps its rows while another is written to the same place.
    const waiting = await cancelled({ input, out, sampling: { maxTokens: 40 } });
    renameSync(out, partialOf(waiting));
    const kept = readFileSync(partialOf(waiting), 'utf8');
    const other = await answered({ input: write('few.jsonl', '{"text":"One"}'), out });
    expect(other.state).toBe('completed');
    expect(readFileSync(partialOf(waiting), 'utf8')).toBe(kept);
    const finished = readFileSync(out, 'utf8');
    const late = await app.client.call('answers.resume', { answers: waiting.id });
    await app.core.jobs.settled(late.job!);
    expect(await app.client.call('answers.show', { answers: waiting.id })).toMatchObject({
      state: 'failed',
      done: 240,
      error: { code: 'TARGET_EXISTS', hint: expect.stringContaining(basename(partialOf(waiting))) as unknown },
    });
    expect(readFileSync(out, 'utf8')).toBe(finished);
    // Moved away, the rows get their name.
    rmSync(out);
    const last = await app.client.call('answers.resume', { answers: waiting.id });
    await app.core.jobs.settled(last.job!);
    expect(jsonl(out)).toHaveLength(240);
    expect(readFileSync(join(folder, 'owned-out.jsonl.part'), 'utf8')).toBe('my own');
  });

  it('writes over the file that was there when it was asked to, and over no later one', async () => {
    const input = write('forced.jsonl', '{"text":"One"}');
    const out = write('forced-out.jsonl', 'old');
    expect((await answered({ input, out, force: true })).state).toBe('completed');
    expect(jsonl(out)).toHaveLength(1);
    const begun = await app.client.call('answers.start', { target: 'first', input, out, force: true });
    writeFileSync(out, 'came meanwhile');
    expect((await app.core.jobs.settled(begun.job!)).error).toMatchObject({ code: 'TARGET_EXISTS' });
    expect(readFileSync(out, 'utf8')).toBe('came meanwhile');
  });

  it.skipIf(process.platform === 'win32')(
    'whose process dies in the middle of a row holds whole rows only',
    async () => {
      const input = write(
        'dying.jsonl',
        Array.from({ length: 240 }, (_, i) => `{"text":"Tell me of ${i}"}`).join('\n'),
      );
      const begun = await begin({ input, out: join(folder, 'dying-out.jsonl'), sampling: { maxTokens: 40 } });
      // A piece of a row that nobody was told of, as a write that was cut leaves it.
      appendFileSync(partialOf(begun), `{"text":"torn${'x'.repeat(1e6)}`);
      process.kill(childOf('answer'), 'SIGKILL');
      await app.core.jobs.settled(begun.job!);
      const file = await app.client.call('answers.show', { answers: begun.id });
      expect(file).toMatchObject({ state: 'failed', error: { code: 'WORKER_CRASHED' } });
      expect(jsonl(file.out)).toHaveLength(file.done);
    },
  );

  it.each([
    ['an empty file', () => ({ input: write('empty.csv', '') }), 'FILE_EMPTY'],
    ['a file without rows', () => ({ input: write('head.csv', 'a,b\n') }), 'DATA_EMPTY'],
    ['a file that is not there', () => ({ input: join(folder, 'none.csv') }), 'FILE_NOT_FOUND'],
    ['no such column', () => ({ input: write('ab.csv', 'prompt,b\n1,2\n'), column: 'c' }), 'INPUT_INVALID'],
    ['columns that say nothing', () => ({ input: write('xy.csv', 'x,y\n1,2\n') }), 'INPUT_INVALID'],
    [
      'a target that is there',
      () => ({ input: write('t.csv', 'prompt\n1\n'), out: write('t.out.csv', '1') }),
      'TARGET_EXISTS',
    ],
    [
      'itself as the target',
      () => ({ input: write('t.csv', 'prompt\n1\n'), out: join(folder, 't.csv') }),
      'INPUT_INVALID',
    ],
    [
      'a folder that is not there',
      () => ({ input: write('t.csv', 'prompt\n1\n'), out: join(folder, 'no/t.csv') }),
      'FILE_NOT_FOUND',
    ],
    [
      'a form that cannot be written',
      () => ({ input: write('t.csv', 'prompt\n1\n'), out: join(folder, 't.docx') }),
      'FORMAT_UNKNOWN',
    ],
    ['an unknown model', () => ({ input: write('t.csv', 'prompt\n1\n'), target: 'none' }), 'MODEL_NOT_FOUND'],
  ])('is refused for %s, and nothing is written', async (_, input, code) => {
    const before = (await app.client.call('answers.list', {})).length;
    await expect(answered(input())).rejects.toMatchObject({ code });
    expect(await app.client.call('answers.list', {})).toHaveLength(before);
    expect(readFileSync(join(folder, 't.out.csv'), { encoding: 'utf8', flag: 'a+' })).not.toContain('prompt');
  });

  it('is looked into first: its rows, its question, and a free name for what comes out', async () => {
    const input = write('look.csv', 'id,question\n1,\n2,What now?\n');
    write('look.answered.csv', 'somebody’s own');
    expect(await app.client.call('answers.look', { path: input })).toMatchObject({
      rows: 2,
      column: 'question',
      columns: [{ name: 'id' }, { name: 'question', example: 'What now?' }],
      out: join(folder, 'look.answered-2.csv'),
    });
  });

  it('is read as training reads it', () => {
    expect(questionIn({ instruction: 'Sum it up', input: 'A text' }, 'instruction', 'input')).toEqual([
      { role: 'user', content: 'Sum it up\n\nA text' },
    ]);
    expect(moreColumn('question', ['question', 'context'])).toBe('context');
    const messages = [
      { from: 'human', value: 'One' },
      { from: 'gpt', value: 'Two' },
      { from: 'human', value: 'Three' },
      { from: 'gpt', value: 'already answered' },
    ];
    expect(questionIn({ messages }, 'messages', null)?.map(({ content }) => content)).toEqual(['One', 'Two', 'Three']);
    expect(delimited(['a "b"', ' c', 'd,e', 3, null, ['f']])).toBe('"a ""b"""," c","d,e",3,,"[""f""]"\n');
  });
});

/** The test once its next pair is there. */
async function ready(id: string): Promise<BlindTest> {
  for (;;) {
    const test = await app.client.call('blind.show', { blind: id });
    if (test.next || test.count.votes === test.prompts) return test;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a blind test', () => {
  it('tells nothing of whose answer is whose before the end, and all of it after', async () => {
    const heardOf: unknown[] = [];
    const stops = (['changes', 'jobs'] as const).map((topic) =>
      app.client.subscribe(topic, 0, (_, event) => heardOf.push(event)),
    );
    const { id } = await app.client.call('blind.start', {
      project,
      targets: ['first', 'second'],
      most: 8,
      sampling: { maxTokens: 6 },
    });
    const seen: BlindTest[] = [];
    for (;;) {
      const test = await ready(id);
      seen.push(test);
      if (!test.next) break;
      const vote = (['one', 'two', 'tie'] as const)[test.next.number % 3]!;
      seen.push(await app.client.call('blind.vote', { blind: id, number: test.next.number, vote, why: 'so' }));
    }
    for (const stop of stops) stop();
    const told = JSON.stringify([seen, await app.client.call('blind.list', { project }), heardOf.filter(isBlind)]);
    expect(told).not.toMatch(/"first"|"second"|"target|"label/);
    await expect(app.client.call('blind.export', { blind: id, format: 'csv' })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });

    const { reveal, count } = await app.client.call('blind.reveal', { blind: id });
    expect(count).toMatchObject({ votes: 8, ties: 3 });
    // Each had each place as often, and the texts are those of the models that are named.
    expect(reveal!.items.filter(({ one }) => one.target === 'first')).toHaveLength(4);
    for (const { prompt, one, two } of reveal!.items.slice(0, 3))
      for (const { target, text } of [one, two]) {
        const asked = await app.client.call('generate.start', { target, prompt, sampling: { maxTokens: 6 } });
        const last = (await heard(asked.id)).at(-1);
        expect(last?.type === 'done' && last.answer.text.trim()).toBe(text);
      }
    const chosen = reveal!.items.filter(({ vote }) => vote !== 'tie').map((item) => item[item.vote as 'one'].target);
    for (const { target, votes } of reveal!.models)
      expect(chosen.filter((each) => each === target)).toHaveLength(votes);
    await expect(app.client.call('blind.vote', { blind: id, number: 1, vote: 'one' })).rejects.toMatchObject({
      message: expect.stringContaining('over') as unknown,
    });
    const { text } = await app.client.call('blind.export', { blind: id, format: 'csv' });
    expect(text.split('\n')[0]).toBe('number,prompt,one,answer one,two,answer two,chosen,why,at');
    expect(JSON.parse((await app.client.call('blind.export', { blind: id, format: 'json' })).text)).toMatchObject({
      id,
    });
  });

  it('takes prompts of one’s own, a vote back, and no vote twice', async () => {
    const { id } = await app.client.call('blind.start', {
      project,
      targets: ['first', 'second'],
      prompts: ['One', 'Two'],
      sampling: { maxTokens: 4 },
    });
    expect(await ready(id)).toMatchObject({ prompts: 2, next: { number: 1, prompt: 'One' } });
    await app.client.call('blind.vote', { blind: id, number: 1, vote: 'one' });
    await expect(app.client.call('blind.vote', { blind: id, number: 1, vote: 'two' })).rejects.toMatchObject({
      message: expect.stringContaining('judged already') as unknown,
    });
    expect(await app.client.call('blind.undo', { blind: id })).toMatchObject({
      count: { votes: 0 },
      next: { number: 1 },
    });
    await expect(app.client.call('blind.reveal', { blind: id })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    await app.client.call('blind.delete', { blind: id });
    await expect(app.client.call('blind.show', { blind: id })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('takes unseen questions of the newest data that hold some, and says where there are none', async () => {
    const { client } = app;
    const begin = (dataset?: string) =>
      client.call('blind.start', {
        project: 'mixed',
        targets: ['first', 'second'],
        sampling: { maxTokens: 4 },
        ...(dataset === undefined ? {} : { dataset }),
      });
    const bring = async (name: string, text: string, heldOut: number): Promise<string> => {
      writeFileSync(join(folder, name), text);
      await settled(await client.call('datasets.import', { project: 'mixed', paths: [join(folder, name)], heldOut }));
      return (await client.call('datasets.list', { project: 'mixed' }))[0]!.id;
    };
    await client.call('projects.create', { name: 'Mixed' });
    await expect(begin()).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
    const prose = await bring('prose.txt', 'The kettle waits for water, and the lamp hums.\n\n'.repeat(80), 0.5);
    await expect(begin()).rejects.toMatchObject({
      code: 'DATA_EMPTY',
      message: expect.stringContaining('holds questions') as unknown,
    });
    expect(await begin(prose)).toMatchObject({ source: expect.stringContaining('prose') as unknown });
    const pairs = Array.from({ length: 30 }, (_, i) =>
      JSON.stringify({ instruction: `Ask ${i}`, response: `Say ${i}` }),
    );
    await bring('pairs.jsonl', pairs.join('\n'), 0.2);
    await bring('later.txt', 'A chair creaks in the hall, and nobody sits.\n\n'.repeat(80), 0.5);
    expect(await begin()).toMatchObject({ source: 'unseen rows of pairs' });
  });

  it('leaves out unseen rows that one of the two learned, or a stage below it, and says how many', async () => {
    const { client } = app;
    await client.call('projects.create', { name: 'Learned' });
    const rowsOf = (dataset: string) =>
      Array.fromAsync(readRows(join(folder, 'home/projects/learned/datasets', dataset, ROWS_FILE)));
    const bring = async (name: string, rows: readonly object[], heldOut: number): Promise<string> => {
      writeFileSync(join(folder, name), rows.map((row) => JSON.stringify(row)).join('\n'));
      await settled(await client.call('datasets.import', { project: 'learned', paths: [join(folder, name)], heldOut }));
      return (await client.call('datasets.list', { project: 'learned' }))[0]!.id;
    };
    const pairs = (word: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({ instruction: `${word} ${i}?`, response: `Say ${i}.` }));
    const all = await bring('all.jsonl', pairs('Ask', 40), 0.25);
    const questions = (await rowsOf(all))
      .filter(({ split }) => split === 'held-out')
      .map(({ messages }) => messages![0]!.content);
    const taken = new Set(questions.slice(0, 4));
    const again = pairs('Ask', 40).filter(({ instruction }) => taken.has(instruction));
    const other = await bring('again.jsonl', [...again, ...pairs('Tell', 20)], 0.01);
    const learned = (await rowsOf(other))
      .filter(({ split, messages }) => split === 'train' && taken.has(messages![0]!.content))
      .map(({ messages }) => messages![0]!.content);
    expect(learned.length).toBeGreaterThan(0);
    const set = { maxSteps: 1, evalEvery: 0, saveEvery: 0, maxLength: 64, rank: 2 };
    const train = async (dataset: string, over?: string): Promise<string> => {
      const { id } = await client.call('runs.start', {
        project: 'learned',
        model: 'first',
        strategy: 'instruct',
        dataset,
        set,
        ...(over === undefined ? {} : { over }),
      });
      await app.core.jobs.settled(app.core.jobs.of('train', id)!.id);
      return id;
    };
    const below = await train(other);
    const above = await train(all, below);
    const begin = (targets: [string, string], dataset = all) =>
      client.call('blind.start', { project: 'learned', targets, dataset, sampling: { maxTokens: 4 } });
    for (const target of [below, above]) {
      const test = await begin(['first', target]);
      expect(test).toMatchObject({
        learned: { rows: learned.length, known: true },
        prompts: questions.length - learned.length,
      });
      const prompts = app.core.db.prepare<[string], { prompt: string }>(
        'SELECT prompt FROM blind_item WHERE blind = ?',
      );
      for (const { prompt } of prompts.all(test.id))
        for (const question of learned) expect(prompt).not.toContain(JSON.stringify(question));
      await client.call('blind.delete', { blind: test.id });
    }
    expect((await begin(['first', 'second'])).learned).toEqual({ rows: 0, known: true });
    const nothing = await bring(
      'nothing.jsonl',
      again.filter(({ instruction }) => learned.includes(instruction)),
      0.5,
    );
    await expect(begin(['first', above], nothing)).rejects.toMatchObject({
      code: 'DATA_EMPTY',
      message: expect.stringContaining('one of the two, or a stage under it, was trained on') as unknown,
    });
  });

  it('gives each the first place as often, in every block of four, and not always the same way', () => {
    const orders = Array.from({ length: 200 }, () => firstPlaces(8).join(''));
    for (const order of orders)
      for (const block of [order.slice(0, 4), order.slice(4)]) expect([...block].sort().join('')).toBe('0011');
    expect(new Set(orders).size).toBeGreaterThan(20);
    expect(firstPlaces(3)).toHaveLength(3);
  });

  it('says why the next pair does not come when a model is gone', async () => {
    const path = await writeTinyModel(join(folder, 'going'));
    await settled(await app.client.call('models.add', { path, name: 'going' }));
    const { id } = await app.client.call('blind.start', {
      project,
      targets: ['first', 'going'],
      prompts: ['One', 'Two', 'Three', 'Four', 'Five'],
      sampling: { maxTokens: 4 },
    });
    await ready(id);
    // Not while it answers.
    await vi.waitFor(() => app.client.call('models.delete', { model: 'going' }), { timeout: 60_000 });
    let error: BlindTest['error'] = null;
    while (!error) {
      const test = await app.client.call('blind.show', { blind: id });
      if (test.next) await app.client.call('blind.vote', { blind: id, number: test.next.number, vote: 'tie' });
      await new Promise((resolve) => setTimeout(resolve, 20));
      error = (await app.client.call('blind.list', { project })).find((each) => each.id === id)!.error;
    }
    expect(error).toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });
});

const isBlind = (event: unknown): boolean => JSON.stringify(event).includes('blind');
