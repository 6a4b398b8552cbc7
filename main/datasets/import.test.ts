/** @file Data from files to a version: what is recognised, held out, left out with its reason, and named by its content. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { found, need } from '../../test/support/needs.ts';
import { importFiles, type ImportedVersion } from './import.ts';
import { readRows, type StoredRow } from './rows.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fettle-data-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const out = (): string => join(folder, 'datasets');
const bringAll = (paths: string[], more: object = {}): Promise<ImportedVersion[]> => {
  mkdirSync(out(), { recursive: true });
  return importFiles({ paths, heldOut: 0.2, folder: out(), ...more });
};
const bring = async (paths: string[], more: object = {}): Promise<ImportedVersion> => {
  const [version, ...others] = await bringAll(paths, more);
  expect(others).toEqual([]);
  return version!;
};
const jsonl = (rows: readonly unknown[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const stored = async (result: ImportedVersion): Promise<StoredRow[]> =>
  Array.fromAsync(readRows(join(out(), result.id, 'rows.jsonl')));
const pairs = (n: number, from = 0): object[] =>
  Array.from({ length: n }, (_, i) => ({ question: `What is ${from + i}?`, answer: `It is ${from + i}.` }));

describe('bringing data in', () => {
  it('reads pairs, says what it recognised, and holds out whole rows', async () => {
    const result = await bring([file('pairs.jsonl', jsonl(pairs(20)))]);
    expect(result).toMatchObject({
      kind: 'instruction',
      rows: 20,
      trainRows: 16,
      heldOutRows: 4,
      duplicates: 0,
      dropped: [],
    });
    expect(result.shapes[0]).toMatchObject({
      name: 'question and answer',
      mapping: { instruction: 'question', response: 'answer' },
    });
    expect(result.shapes[0]!.evidence[0]).toContain('"question" in 100%');
    const rows = await stored(result);
    expect(rows[3]).toMatchObject({
      index: 3,
      source: 'pairs.jsonl:4',
      messages: [
        { role: 'user', content: 'What is 3?' },
        { role: 'assistant', content: 'It is 3.' },
      ],
    });
  });

  it('names a version by its content: the same rows are the same version, however often they come in', async () => {
    const path = file('pairs.jsonl', jsonl(pairs(10)));
    const [first, second] = [await bring([path]), await bring([path])];
    expect(second.hash).toBe(first.hash);
    expect(readdirSync(out())).toEqual([first.id]);
  });

  it('holds out the same rows whatever order they come in', async () => {
    const rows = pairs(30);
    const one = await stored(await bring([file('a.jsonl', jsonl(rows))]));
    const two = await stored(await bring([file('b.jsonl', jsonl(rows.toReversed()))]));
    const heldOut = (all: StoredRow[]): string[] =>
      all
        .filter((row) => row.split === 'held-out')
        .map((row) => row.messages![0]!.content)
        .sort();
    expect(heldOut(two)).toEqual(heldOut(one));
  });

  it('drops what cannot be used, with the reason and the line, and keeps the rest', async () => {
    const text = [
      ...pairs(6).map((row) => JSON.stringify(row)),
      '{"question": "no answer"}',
      '{broken',
      '[1, 2]',
      JSON.stringify(pairs(1)[0]),
      '',
    ].join('\n');
    const result = await bring([file('messy.jsonl', text)]);
    expect(result.rows).toBe(6);
    expect(Object.fromEntries(result.dropped.map((entry) => [entry.reason, entry.examples[0]!.line]))).toEqual({
      'no response': 7,
      'not valid JSON': 8,
      'not an object with columns': 9,
      'the same as an earlier row': 10,
    });
  });

  it('drops a line that is not UTF-8 and keeps the others', async () => {
    const good = Buffer.from(`${jsonl(pairs(4))}\n`);
    const result = await bring([
      file('latin.jsonl', Buffer.concat([good, Buffer.from([0x22, 0xe9, 0x22, 0x0a]), good.subarray(0, 0)])),
    ]);
    expect(result.rows).toBe(4);
    expect(result.dropped).toMatchObject([{ reason: 'bytes that are not UTF-8', count: 1, examples: [{ line: 5 }] }]);
  });

  it('reads conversations of OpenAI and ShareGPT, roles in any case', async () => {
    const openai = await bring([
      file(
        'o.jsonl',
        jsonl(
          [1, 2, 3].map((i) => ({
            messages: [
              { role: 'user', content: `a${i}` },
              { role: 'assistant', content: 'b' },
            ],
          })),
        ),
      ),
    ]);
    expect(openai).toMatchObject({ kind: 'conversation', rows: 3, shapes: [{ name: 'OpenAI messages' }] });
    const share = await bring([
      file(
        's.json',
        JSON.stringify(
          [1, 2].map((i) => ({
            conversations: [
              { from: 'Human', value: `x${i}` },
              { from: 'GPT', value: 'y' },
            ],
          })),
        ),
      ),
    ]);
    expect((await stored(share))[0]!.messages).toEqual([
      { role: 'user', content: 'x1' },
      { role: 'assistant', content: 'y' },
    ]);
  });

  it('reads a folder of prose, a document a file, held out by document', async () => {
    for (let i = 0; i < 6; i++)
      file(`book/part-${i}/chapter.md`, `# Chapter ${i}\n\n${`Words of chapter ${i}. `.repeat(50)}`);
    file('book/picture.png', 'no text');
    const result = await bring([join(folder, 'book')]);
    expect(result).toMatchObject({ kind: 'prose', rows: 6, shapes: [{ name: 'documents' }] });
    expect(result.heldOutRows).toBeGreaterThanOrEqual(1);
    expect(result.files.map((entry) => entry.name)).toContain('book/part-0/chapter.md');
  });

  it('holds out the end of a single document, cut at a paragraph', async () => {
    const result = await bring([
      file('one.txt', Array.from({ length: 40 }, (_, i) => `Paragraph ${i} has some words.`).join('\n\n')),
    ]);
    const rows = await stored(result);
    expect(rows.map((row) => row.split)).toEqual(['train', 'held-out']);
    expect(`${rows[0]!.text}\n\n${rows[1]!.text}`).toContain('Paragraph 39');
  });

  it('follows a mapping made by hand', async () => {
    const rows = [1, 2, 3].map((i) => ({ ticket: `Ticket ${i}`, reply: `Reply ${i}`, note: 'x' }));
    const path = file('tickets.jsonl', jsonl(rows));
    await expect(bring([path])).rejects.toMatchObject({
      code: 'DATA_SHAPE_UNKNOWN',
      hint: expect.stringContaining('--map'),
    });
    expect(await bring([path], { map: { instruction: 'ticket', response: 'reply' } })).toMatchObject({
      kind: 'instruction',
      rows: 3,
    });
    await expect(bring([path], { map: { instruction: 'tikcet', response: 'repyl' } })).rejects.toMatchObject({
      code: 'DATA_SHAPE_UNKNOWN',
    });
    await expect(bring([path], { map: { colour: 'ticket' } })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('never guesses where two readings are possible', async () => {
    const rows = [1, 2].map((i) => ({ prompt: `p${i}`, completion: 'c', question: 'q', answer: 'a' }));
    await expect(bring([file('two.jsonl', jsonl(rows))])).rejects.toMatchObject({
      code: 'DATA_SHAPE_UNKNOWN',
      message: expect.stringContaining('more than one way'),
    });
  });

  it('reads UTF-16 with a byte order mark', async () => {
    const text = Array.from({ length: 6 }, (_, i) => `Absatz ${i}: schöne Grüße.`).join('\n\n');
    const result = await bring([
      file('note.txt', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')])),
    ]);
    expect((await stored(result))[0]!.text).toContain('schöne Grüße');
  });

  it.each([
    ['a missing file', () => [join(folder, 'none.jsonl')], 'FILE_NOT_FOUND'],
    ['an empty file', () => [file('empty.jsonl', '')], 'FILE_EMPTY'],
    ['an unknown kind of file', () => [file('table.xlsx', 'PK')], 'FORMAT_UNKNOWN'],
    ['a folder with nothing to read', () => [(file('pics/a.png', 'x'), join(folder, 'pics'))], 'FILE_EMPTY'],
    [
      'bytes that are no text',
      () => [file('noise.txt', Buffer.from([1, 2, 3, 0x90, 5, 6, 7, 0x81, 14, 15]))],
      'FILE_ENCODING',
    ],
    [
      'nothing left after cleaning',
      () => [
        file(
          'bad.jsonl',
          jsonl([{ question: 'a' }, { question: 'b', answer: '' }]).replace(
            '"question":"a"',
            '"question":"a","answer":""',
          ),
        ),
      ],
      'DATA_EMPTY',
    ],
    ['a single row', () => [file('one.jsonl', jsonl(pairs(1)))], 'DATA_EMPTY'],
    ['broken JSON', () => [file('x.json', '{"a": ')], 'FORMAT_INVALID'],
  ])('refuses %s with its code, and leaves nothing behind', async (_, paths, code) => {
    await expect(bring(paths())).rejects.toMatchObject({ code });
    expect(readdirSync(folder).includes('datasets') ? readdirSync(out()) : []).toEqual([]);
  });

  it('goes on past a file that cannot be read, and lists why', async () => {
    const result = await bring([
      file('a.txt', 'First document here.'),
      file('b.txt', ''),
      file('c.txt', 'Third document here.'),
    ]);
    expect(result.rows).toBe(2);
    expect(result.files[1]).toMatchObject({ name: 'b.txt', error: { code: 'FILE_EMPTY' } });
  });

  it('drops conversations that cannot be trained on, by reason', async () => {
    const turn = (role: string, content: string): object => ({ role, content });
    const rows = [
      { messages: [turn('user', 'a'), turn('assistant', 'b'), turn('user', 'c'), turn('assistant', 'd')] },
      { messages: [turn('user', 'a2'), turn('assistant', 'b')] },
      { messages: [turn('assistant', 'hello'), turn('user', 'x')] },
      { messages: [turn('user', 'x')] },
      { messages: [turn('narrator', 'x')] },
      { messages: [] },
    ];
    const result = await bring([file('m.jsonl', jsonl(rows))]);
    expect(result.rows).toBe(2);
    expect(result.dropped.map((entry) => entry.reason).sort()).toEqual([
      'no answer of the assistant',
      'no messages',
      'starts with the assistant',
      'the role "narrator" is not supported',
    ]);
  });

  it('takes a mixed folder apart by kind, and several shapes in one file', async () => {
    file(
      'm/pairs.jsonl',
      jsonl([
        ...pairs(8),
        { instruction: 'Do it.', output: 'Done.' },
        {
          messages: [
            { role: 'user', content: 'a' },
            { role: 'assistant', content: 'b' },
          ],
        },
      ]),
    );
    file('m/table.csv', `question;answer\n${Array.from({ length: 6 }, (_, i) => `q${i};a${i}`).join('\n')}\n`);
    for (let i = 0; i < 4; i++) file(`m/doc${i}.md`, `# Part ${i}\n\n${`Words of part ${i}. `.repeat(30)}`);
    file(
      'm/pref.jsonl',
      jsonl(Array.from({ length: 4 }, (_, i) => ({ prompt: `p${i}`, chosen: 'good', rejected: 'bad' }))),
    );
    file('m/odd.jsonl', jsonl([{ prompt: 'p', completion: 'c', question: 'q', answer: 'a' }]));
    const versions = await bringAll([join(folder, 'm')]);
    const of = (kind: string): ImportedVersion => versions.find((version) => version.kind === kind)!;
    expect(versions).toHaveLength(3);
    expect(of('conversation')).toMatchObject({ rows: 16 });
    expect(of('conversation').shapes.map(({ name, rows }) => [name, rows])).toEqual([
      ['question and answer', 14],
      ['Alpaca', 1],
      ['OpenAI messages', 1],
    ]);
    expect(of('prose')).toMatchObject({ rows: 4 });
    expect(of('preference')).toMatchObject({ rows: 4 });
    expect(of('prose').files.find((entry) => entry.name === 'm/odd.jsonl')).toMatchObject({
      error: { code: 'DATA_SHAPE_UNKNOWN' },
    });
  });

  it('takes each instance of a nested row, tools and their calls, and the system message', async () => {
    const nested = await bring([
      file(
        'n.jsonl',
        jsonl(
          [1, 2].map((i) => ({
            id: i,
            instruction: `Task ${i}`,
            instances: [
              { input: 'x', output: `y${i}` },
              { input: '', output: `z${i}` },
            ],
          })),
        ),
      ),
    ]);
    expect(nested).toMatchObject({ rows: 4, shapes: [{ name: 'nested instances', rows: 2 }] });
    expect((await stored(nested))[0]!.messages).toEqual([
      { role: 'user', content: 'Task 1\n\nx' },
      { role: 'assistant', content: 'y1' },
    ]);
    const tools = await bring([
      file(
        't.jsonl',
        jsonl(
          [1, 2].map((i) => ({
            tools: [{ name: 'stock' }],
            conversations: [
              { from: 'system', value: 'Be short.' },
              { from: 'human', value: `How many ${i}?` },
              { from: 'function_call', value: '{"name":"stock"}' },
              { from: 'observation', value: '7' },
              { from: 'gpt', value: 'Seven.' },
            ],
          })),
        ),
      ),
    ]);
    const [row] = await stored(tools);
    expect(row!.messages!.map((turn) => turn.role)).toEqual(['system', 'user', 'assistant', 'tool', 'assistant']);
    expect(row!.messages![0]!.content).toBe('Be short.');
    expect(row!.tools).toEqual([{ type: 'function', function: { name: 'stock' } }]);
  });

  it('stops where it is cancelled, and keeps nothing', async () => {
    const path = file('many.jsonl', jsonl(pairs(5000)));
    mkdirSync(out(), { recursive: true });
    await expect(
      importFiles({ paths: [path], heldOut: 0.1, folder: out() }, { cancelled: () => true }),
    ).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(readdirSync(out())).toEqual([]);
  });

  it('brings in real data: a book, Word chapters, and both files of instructions', async (test) => {
    const shared = need(test, 'shared-data', found.sharedData);
    const [book] = await bringAll([join(shared, 'prose-rust-book')]);
    expect(book).toMatchObject({ kind: 'prose', rows: 101 });
    expect(book!.words).toBeGreaterThan(170_000);
    expect(await bring([join(shared, 'docx')])).toMatchObject({ kind: 'prose', rows: 3 });
    expect(await bring([join(shared, 'instruct/gsm8k-test.jsonl')])).toMatchObject({ kind: 'instruction', rows: 1319 });
    const seeds = await bring([join(shared, 'instruct/self-instruct-seed-tasks.jsonl')]);
    expect(seeds.shapes).toMatchObject([{ name: 'nested instances', rows: 175 }]);
  });
});
