/** @file A row that a model was trained on is known by its content, in whatever version and split it stands. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { learnedFrom } from './learned.ts';
import type { Content } from './rows.ts';
import { VersionWriter } from './version.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-learned-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const row = (question: string, answer: string): Content => ({
  source: 'somewhere',
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
});
const document = (...paragraphs: string[]): Content => ({ source: 'elsewhere', text: paragraphs.join('\n\n') });
const NOTICE = 'Printed in the valley.';
let file: string;

beforeAll(() => {
  const writer = new VersionWriter(folder);
  writer.add(row('How are\nyou?', 'Well.'), 'train');
  writer.add(row('And you?', 'Well, too.'), 'held-out');
  writer.add(document('The first chapter is about rivers.', 'The second one is about hills.', NOTICE), 'train');
  file = join(folder, writer.finish(0.1).id, 'rows.jsonl');
});

it('rows of the training split are found, those that were held out there are not', async () => {
  const asked = [row('How are you?', 'Well.'), row('And you?', 'Well, too.'), row('How are you?', 'Badly.')];
  expect(await learnedFrom(asked, [file, file])).toEqual([true, false, false]);
  expect(await learnedFrom(asked, [])).toEqual([false, false, false]);
});

it('a document is found by its paragraphs: its tail was learned with the whole, a notice in common is nothing', async () => {
  const asked = [
    document('The second one is about hills.'),
    document('The third chapter is about the sea, and about those who live by it.', NOTICE),
    document(''),
  ];
  expect(await learnedFrom(asked, [file])).toEqual([true, false, false]);
});
