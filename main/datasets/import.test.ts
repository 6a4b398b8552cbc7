import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { importDataset, type ImportResult } from './import.ts';
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
const bring = (paths: string[], more: object = {}): Promise<ImportResult> =>
  importDataset({ paths, heldOut: 0.2, folder: out(), ...more });
const jsonl = (rows: readonly unknown[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const stored = async (result: ImportResult): Promise<StoredRow[]> =>
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
    expect(result.shape).toMatchObject({
      name: 'question and answer',
      mapping: { instruction: 'question', response: 'answer' },
    });
    expect(result.shape.evidence[0]).toContain('"question" in 100%');
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
    expect(openai).toMatchObject({ kind: 'conversation', rows: 3, shape: { name: 'OpenAI messages' } });
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
    expect(result).toMatchObject({ kind: 'prose', rows: 6, shape: { name: 'documents' } });
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
    await expect(bring([path], { map: { instruction: 'tikcet' } })).rejects.toMatchObject({
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
    ['text that is not UTF-8', () => [file('latin.txt', Buffer.from('caf\xe9', 'latin1'))], 'FILE_ENCODING'],
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
      { messages: [turn('tool', 'x')] },
      { messages: [] },
    ];
    const result = await bring([file('m.jsonl', jsonl(rows))]);
    expect(result.rows).toBe(2);
    expect(result.dropped.map((entry) => entry.reason).sort()).toEqual([
      'no answer of the assistant',
      'no messages',
      'starts with the assistant',
      'the role "tool" is not supported',
    ]);
  });
});
