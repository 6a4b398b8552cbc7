/** @file What is found in rows: personal data, refusals, languages, near duplicates, leaks; and versions made without them. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Quality } from '../../contract/entities.ts';
import { Random } from '../../engine/random.ts';
import { derive, type Derived, type DeriveRequest } from '../derive.ts';
import { importFiles, type ImportedVersion } from '../import.ts';
import { droppedRows, rowsPage } from '../pages.ts';
import { readRows, type StoredRow } from '../rows.ts';
import { inspect } from './inspect.ts';
import { jaccard, NearDuplicates, shingles } from './near-duplicates.ts';
import { findPersonal, maskPersonal } from './personal.ts';
import { isRefusal } from './refusal.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fettle-quality-'));
  mkdirSync(join(folder, 'out'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('personal data', () => {
  const kinds = (text: string): string[] => findPersonal(text).map(({ kind }) => kind);

  it('is found by form and check digit', () => {
    expect(kinds('Write to ana.b@example.org or call +44 20 7946 0958.')).toEqual(['mail', 'phone']);
    expect(kinds('Card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00.')).toEqual(['card', 'id-number']);
    expect(kinds('SSN 078-05-1120')).toEqual(['id-number']);
    expect(kinds('(030) 901820, 07700 900142, 555-867-5309')).toEqual(['phone', 'phone', 'phone']);
  });

  it('is not seen in prices, dates, sizes, versions or order numbers', () => {
    for (const text of [
      'Order 20240517-0042 of 2024-05-17',
      '1,250,000 rows',
      '3.14159265',
      'v24.21.0',
      '700x25c, 36 spokes',
      'Card 4111 1111 1111 1112',
      '10:30 to 12:45',
      '192.168.0.1',
      'ISBN 978-3-16-148410-0',
    ])
      expect([text, kinds(text)]).toEqual([text, []]);
  });

  it('is masked by its kind, and the rest stays', () => {
    expect(maskPersonal('Mail a@b.org, call 07700 900142.', new Set(['mail', 'phone']))).toEqual({
      text: 'Mail [mail address], call [telephone number].',
      masked: 2,
    });
    expect(maskPersonal('Mail a@b.org', new Set(['phone'])).text).toBe('Mail a@b.org');
  });

  it('takes no time on text made to be slow', () => {
    for (const text of [
      '1'.repeat(100_000),
      '1 '.repeat(50_000),
      'a@'.repeat(50_000),
      '+1-'.repeat(30_000),
      '(0'.repeat(50_000),
    ]) {
      const started = performance.now();
      findPersonal(text);
      expect(performance.now() - started).toBeLessThan(2000);
    }
  });
});

it('refusals are told from answers that are sorry', () => {
  for (const text of [
    "I'm sorry, but I can't help with that.",
    'As an AI language model, I have no opinion.',
    'Es tut mir leid, das kann ich nicht.',
    'I cannot assist with that request.',
  ])
    expect(isRefusal(text)).toBe(true);
  for (const text of [
    'We are sorry about the delay; the wheel is on its way.',
    'I can help with that.',
    'Unfortunately the part is out of stock.',
  ])
    expect(isRefusal(text)).toBe(false);
});

describe('near duplicates', () => {
  const random = new Random(3);
  const words = (n: number): string[] => Array.from({ length: n }, () => `w${random.int(5000)}`);

  it('are found where the texts overlap by more than the limit, and not where they do not', async () => {
    const near = new NearDuplicates();
    const texts: string[] = [];
    for (let i = 0; i < 200; i++) {
      const text = words(60);
      texts.push(
        text.join(' '),
        [...text.slice(0, 59), 'other'].join(' '),
        [...text.slice(0, 30), ...words(30)].join(' '),
      );
    }
    for (const text of texts) near.add(text);
    const sets = texts.map(shingles);
    const groups = await near.groups((a, b) => Promise.resolve(jaccard(sets[a]!, sets[b]!) >= 0.8));
    let found = 0;
    for (let i = 0; i < texts.length; i += 3) {
      if (groups[i + 1] === i) found++;
      expect(groups[i + 2]).toBe(i + 2);
    }
    // 59 of 60 words alike overlap by 0.97: a band misses such a pair with a chance below one in ten thousand.
    expect(found).toBe(200);
  });

  it('are the same in any script, and nothing is alike with nothing', () => {
    expect(jaccard(shingles('修理自行车的车轮很容易'), shingles('修理自行车的车轮很容易'))).toBe(1);
    expect(jaccard(shingles(''), shingles(''))).toBe(0);
    expect(shingles('Eins, zwei; drei!')).toEqual(shingles('eins zwei drei'));
  });
});

describe('a version', () => {
  const sentence = (i: number): string =>
    `Rider number ${i * 7919} writes that the ${['bell', 'brake', 'chain', 'fork', 'hub'][i % 5]} on bicycle ${i * 104729} came loose near ${['the river', 'the mill', 'the station'][i % 3]} and asks for a date in week ${i}.`;
  const pairs = (n: number): { instruction: string; response: string }[] =>
    Array.from({ length: n }, (_, i) => ({
      instruction: sentence(i),
      response: `Dear rider ${i * 31337}, bring it on day ${i} at ${i % 12} sharp; it takes ${i * 13} minutes and costs ${i * 17} crowns.`,
    }));
  async function bring(rows: readonly unknown[]): Promise<{ version: ImportedVersion; rows: string }> {
    const path = join(folder, 'in.jsonl');
    writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
    const [version] = await importFiles({ paths: [path], heldOut: 0.2, folder: join(folder, 'out') });
    return { version: version!, rows: join(folder, 'out', version!.id, 'rows.jsonl') };
  }
  const marked = (quality: Quality, mark: string): number =>
    quality.checks.find((check) => check.mark === mark)?.count ?? 0;
  const make = (rows: string, request: Omit<DeriveRequest, 'rows' | 'folder'>): Promise<Derived> =>
    derive({ rows, folder: join(folder, 'out'), ...request }, null);
  const all = (id: string): Promise<StoredRow[]> => Array.fromAsync(readRows(join(folder, 'out', id, 'rows.jsonl')));

  it('is looked through once; what was found can be opened and left out, and what was held out stays so', async () => {
    const base = pairs(40);
    const { version, rows } = await bring([
      ...base,
      // Nearly the same as each of the first ten: of some the other is held out.
      ...base.slice(0, 10).map((row) => ({ ...row, response: `${row.response} Yes.` })),
      { instruction: base[20]!.instruction, response: 'No.' },
      {
        instruction: 'Tell me a secret of the trade, please, one that nobody knows.',
        response: "I'm sorry, but I can't help with that.",
      },
      { instruction: 'Where do I write to?', response: 'To bell@example.org, or call +44 20 7946 0958.' },
    ]);
    const quality = await inspect(rows);
    expect(marked(quality, 'near-duplicate') + marked(quality, 'leak')).toBe(10);
    expect(quality.checks.map((check) => check.mark)).toEqual(
      expect.arrayContaining(['refusal', 'mail', 'phone', 'contradiction']),
    );
    expect(quality.languages.found[0]).toMatchObject({ code: 'eng' });
    expect((await rowsPage(rows, { offset: 0, limit: 5, mark: 'refusal' })).rows).toMatchObject([
      { marks: ['refusal'] },
    ]);

    const cleaned = await make(rows, { drop: ['near-duplicate', 'leak', 'refusal'] });
    expect(cleaned).toMatchObject({ left: 11, rows: version.rows - 11 });
    expect((await droppedRows(join(folder, 'out', cleaned.id), { offset: 0, limit: 50 })).total).toBe(11);
    const before = new Map((await all(version.id)).map((row) => [JSON.stringify(row.messages), row.split]));
    for (const row of await all(cleaned.id)) expect(before.get(JSON.stringify(row.messages))).toBe(row.split);
    // The version that was cleaned is as it was.
    expect((await all(version.id)).length).toBe(version.rows);
  });

  it('is changed, added to, masked; and refused where that would leave nothing', async () => {
    const { version, rows } = await bring([...pairs(12), { instruction: 'Where to?', response: 'To a@b.org.' }]);
    const answer = { role: 'assistant' as const, content: 'Done.' };
    const edited = await make(rows, {
      changes: [
        { index: 0, row: { messages: [{ role: 'user', content: 'Q' }, answer] } },
        { index: 1, row: null },
      ],
      add: [{ messages: [{ role: 'user', content: 'New?' }, answer] }],
    });
    expect(edited).toMatchObject({ changed: 1, left: 1, added: 1, rows: 13 });
    expect((await all(edited.id)).at(-1)).toMatchObject({ source: 'added by hand', split: 'train' });
    const masked = await make(rows, { mask: ['mail'] });
    expect(masked.masked).toBe(1);
    expect(JSON.stringify(await all(masked.id))).toContain('To [mail address].');
    expect((await make(rows, {})).id).toBe(version.id);

    const empty = {
      messages: [
        { role: 'user' as const, content: 'Q' },
        { ...answer, content: ' ' },
      ],
    };
    await expect(make(rows, { add: [empty] })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    await expect(make(rows, { changes: [{ index: 99, row: null }] })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    await expect(make(rows, { drop: ['leak'] })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    const none = Array.from({ length: 13 }, (_, index) => ({ index, row: null }));
    await expect(make(rows, { changes: none })).rejects.toMatchObject({ code: 'DATA_EMPTY' });
    expect(readdirSync(join(folder, 'out')).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('of preferences keeps both answers, and gives pairs of the chosen ones', async () => {
    const { version, rows } = await bring(
      Array.from({ length: 10 }, (_, i) => ({ prompt: `Question ${i}?`, chosen: `Good ${i}.`, rejected: `Bad ${i}.` })),
    );
    expect(version.kind).toBe('preference');
    expect((await all(version.id))[0]).toMatchObject({ rejected: expect.stringMatching(/^Bad/) as unknown });
    const chosen = await make(rows, { chosen: true });
    expect((await all(chosen.id)).every((row) => row.rejected === undefined)).toBe(true);
  });

  it('of a few short answers shows how often each is given', async () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({
      instruction: sentence(i),
      response: i % 10 === 0 ? 'complaint' : 'praise',
    }));
    const { rows: file } = await bring(rows);
    expect((await inspect(file)).labels).toEqual([
      { label: 'praise', rows: 54 },
      { label: 'complaint', rows: 6 },
    ]);
  });

  it('is searched without being loaded, and a page is a page', async () => {
    const { rows } = await bring(pairs(60));
    expect(await rowsPage(rows, { offset: 58, limit: 20 })).toMatchObject({
      total: 60,
      rows: [{ index: 58 }, { index: 59 }],
    });
    expect((await rowsPage(rows, { offset: 0, limit: 5, search: 'NEAR THE RIVER' })).total).toBeNull();
    expect((await rowsPage(rows, { offset: 0, limit: 50, search: 'near the river' })).total).toBe(20);
    expect(await rowsPage(rows, { offset: 0, limit: 5, search: 'no such words' })).toEqual({ total: 0, rows: [] });
  });
});
