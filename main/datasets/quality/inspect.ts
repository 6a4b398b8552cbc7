/** @file Looks through a version once: near duplicates, leaks, refusals, personal data, languages, labels. Each find is a bit in the version's marks. */
import { hash } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MARKS, type Mark, type Quality } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { MARKS_FILE, readAt, readLines, RowIndex, textOfRow, type StoredRow } from '../rows.ts';
import { countWords } from '../version.ts';
import { languageName, languageOf } from './language.ts';
import { jaccard, NearDuplicates, shingles, SIMILAR } from './near-duplicates.ts';
import { findPersonal } from './personal.ts';
import { isRefusal } from './refusal.ts';

export const QUALITY_FILE = 'quality.json';
/** Judging a language costs a tenth of a millisecond; of larger data so many rows are judged, evenly spread. */
const JUDGED_ROWS = 20_000;
const EXAMPLES = 5;
/** Answers of fewer different kinds than that, and of so few words, are labels. */
const MOST_LABELS = 50;
const LABEL_WORDS = 4;
/** Repeated questions that are compared; more are beyond looking at one by one. */
const MOST_AGAIN = 100_000;
/** A document of fewer words teaches nothing. */
const SHORT_WORDS = 5;

export interface InspectControl {
  readonly onProgress?: (stage: string, share: number) => void;
  readonly cancelled?: () => boolean;
}

const TITLES: Readonly<Record<Mark, readonly [title: string, advice: string]>> = {
  'near-duplicate': [
    'Nearly the same as an earlier row',
    'They count double in training. Leave them out, unless the small differences are the point.',
  ],
  leak: [
    'Nearly the same as a row that is held out',
    'The result would look better than it is. Leave them out: what is held out must be unseen.',
  ],
  contradiction: ['The same question with another answer', 'The model learns neither well. Keep the better answer.'],
  refusal: [
    'The answer refuses',
    'A model that learns refusals refuses. Leave them out, unless that is what you want.',
  ],
  short: ['Hardly any text', 'Check whether something was lost; leave them out if it was.'],
  language: ['In another language than most', 'Keep them where the model is to speak both; else leave them out.'],
  mail: ['Holds a mail address', 'A tuned model can repeat it to anyone. Mask it, unless it is public.'],
  phone: ['Holds a telephone number', 'A tuned model can repeat it to anyone. Mask it, unless it is public.'],
  card: ['Holds a card number', 'Mask it. Card numbers do not belong in training data.'],
  'id-number': ['Holds an identity or account number', 'Mask it. Such numbers do not belong in training data.'],
};

/** @throws CANCELLED; then nothing was written. */
export async function inspect(rows: string, control: InspectControl = {}): Promise<Quality> {
  const started = performance.now();
  const index = await RowIndex.open(rows);
  const marks = new Uint16Array(index.count);
  const set = (row: number, mark: Mark): void => void (marks[row]! |= 1 << MARKS.indexOf(mark));
  const stop = (): void => {
    if (control.cancelled?.()) throw new FettleError('CANCELLED', 'Looking through the data was cancelled.');
  };
  const near = new NearDuplicates();
  const languages = new Languages(index.count);
  const labels = new Labels();
  const asked = new FirstByKey();
  /** Pairs of rows that ask the same. */
  const again: (readonly [row: number, first: number])[] = [];
  for await (const block of readLines(rows)) {
    stop();
    for (const line of block) {
      const row = line.row();
      const text = textOfRow(row);
      near.add(text);
      languages.judge(row.index, text);
      for (const { kind } of findPersonal(text)) set(row.index, kind);
      const answer = row.messages?.findLast((turn) => turn.role === 'assistant')?.content;
      if (answer === undefined) {
        if (countWords(text) < SHORT_WORDS) set(row.index, 'short');
        continue;
      }
      labels.add(answer);
      if (isRefusal(answer)) set(row.index, 'refusal');
      if (answer.length < 2 || /^\W+$/u.test(answer)) set(row.index, 'short');
      const first = asked.first(questionKey(row), row.index);
      if (first !== row.index && again.length < MOST_AGAIN) again.push([row.index, first]);
    }
    control.onProgress?.('Looking at each row', near.count / index.count);
  }
  const groups = await near.groups(alikeIn(rows, index), (share) => {
    stop();
    control.onProgress?.('Comparing rows with each other', share);
  });
  for (const pair of again) if (await contradicts(rows, index, pair)) set(pair[0], 'contradiction');
  markGroups(groups, index, set);
  languages.mark(set);
  await writeFile(join(dirname(rows), MARKS_FILE), Buffer.from(marks.buffer));
  const quality: Quality = {
    rows: index.count,
    checks: MARKS.map((mark, bit) => summary(mark, marks, bit)).filter((check) => check.count > 0),
    languages: languages.found,
    labels: labels.found,
    seconds: (performance.now() - started) / 1000,
  };
  const file = join(dirname(rows), QUALITY_FILE);
  // Whole or not at all: half of it would be read as it is, and nobody would look again.
  await writeFile(`${file}.part`, JSON.stringify(quality));
  await rename(`${file}.part`, file);
  return quality;
}

function summary(mark: Mark, marks: Uint16Array, bit: number): Quality['checks'][number] {
  const examples: number[] = [];
  let count = 0;
  marks.forEach((bits, row) => {
    if (!(bits & (1 << bit))) return;
    if (examples.length < EXAMPLES) examples.push(row);
    count++;
  });
  const [title, advice] = TITLES[mark];
  return { mark, title, count, advice, examples };
}

const questionOf = (row: StoredRow): string =>
  (row.messages ?? [])
    .slice(0, -1)
    .map((turn) => turn.content)
    .join('\n')
    .toLowerCase()
    .replace(/\s+/g, ' ');
const questionKey = (row: StoredRow): number => hash('sha256', questionOf(row), 'buffer').readUIntBE(0, 6);

/** The same question with an answer that has little in common with the first one's. */
async function contradicts(
  rows: string,
  index: RowIndex,
  numbers: readonly [row: number, first: number],
): Promise<boolean> {
  const [row, first] = await readAt(rows, index, numbers);
  if (!row?.messages || !first?.messages || questionOf(row) !== questionOf(first)) return false;
  const [a, b] = [row, first].map((it) => shingles(it.messages?.at(-1)?.content ?? ''));
  return jaccard(a!, b!) < SIMILAR / 2;
}

/** The first row of each key, in 12 bytes a slot. */
class FirstByKey {
  #keys = new Float64Array(1024).fill(-1);
  #rows = new Int32Array(1024);
  #count = 0;

  /** The row that had the key first; this one, where none had. */
  first(key: number, row: number): number {
    if (this.#count * 2 > this.#keys.length) this.#grow();
    return this.#place(key, row);
  }

  #place(key: number, row: number): number {
    const mask = this.#keys.length - 1;
    for (let slot = key & mask; ; slot = (slot + 1) & mask) {
      if (this.#keys[slot] === key) return this.#rows[slot]!;
      if (this.#keys[slot] !== -1) continue;
      this.#keys[slot] = key;
      this.#rows[slot] = row;
      this.#count++;
      return row;
    }
  }

  #grow(): void {
    const [keys, rows] = [this.#keys, this.#rows];
    this.#keys = new Float64Array(keys.length * 2).fill(-1);
    this.#rows = new Int32Array(keys.length * 2);
    this.#count = 0;
    keys.forEach((key, i) => key !== -1 && this.#place(key, rows[i]!));
  }
}

/** Compares two rows by their whole text, read from the disk; the last ones read are kept. */
function alikeIn(rows: string, index: RowIndex): (a: number, b: number) => Promise<boolean> {
  const kept = new Map<number, Uint32Array>();
  const of = async (number: number): Promise<Uint32Array> => {
    let found = kept.get(number);
    if (!found) {
      const [row] = await readAt(rows, index, [number]);
      found = shingles(row ? textOfRow(row) : '');
      if (kept.size > 2000) kept.clear();
      kept.set(number, found);
    }
    return found;
  };
  return async (a, b) => jaccard(await of(a), await of(b)) >= SIMILAR;
}

/** Of rows that are alike one is kept: one that is held out, where there is one. */
function markGroups(groups: Int32Array, index: RowIndex, set: (row: number, mark: Mark) => void): void {
  const held = new Map<number, number>();
  for (let row = 0; row < groups.length; row++)
    if (index.isHeldOut(row) && !held.has(groups[row]!)) held.set(groups[row]!, row);
  for (let row = 0; row < groups.length; row++) {
    const group = groups[row]!;
    const kept = held.get(group);
    if (kept !== undefined && !index.isHeldOut(row)) set(row, 'leak');
    else if (row !== (kept ?? group)) set(row, 'near-duplicate');
  }
}

class Languages {
  readonly #every: number;
  readonly #rows = new Map<string, number[]>();
  #judged = 0;

  constructor(count: number) {
    this.#every = Math.max(1, Math.ceil(count / JUDGED_ROWS));
  }

  judge(row: number, text: string): void {
    if (row % this.#every !== 0) return;
    const language = languageOf(text);
    if (!language) return;
    this.#judged++;
    const rows = this.#rows.get(language) ?? [];
    this.#rows.set(language, rows);
    rows.push(row);
  }

  /** Short texts are mistaken for related languages: what is a handful among many is not believed. */
  get #believed(): [string, number[]][] {
    return [...this.#rows]
      .filter(([, rows]) => rows.length >= Math.max(2, this.#judged * 0.01))
      .sort((a, b) => b[1].length - a[1].length);
  }

  get found(): Quality['languages'] {
    return {
      judged: this.#judged,
      sampled: this.#every > 1,
      found: this.#believed.map(([code, rows]) => ({ code, name: languageName(code), rows: rows.length })),
    };
  }

  /** Only where every row was looked at: a switch must know all that it would drop. */
  mark(set: (row: number, mark: Mark) => void): void {
    if (this.#every > 1) return;
    for (const [, rows] of this.#believed.slice(1)) for (const row of rows) set(row, 'language');
  }
}

class Labels {
  readonly #counts = new Map<string, number>();
  #rows = 0;
  #words = 0;

  add(answer: string): void {
    this.#rows++;
    if (this.#counts.size > MOST_LABELS) return;
    this.#words += answer.length > 100 ? LABEL_WORDS * 10 : countWords(answer);
    this.#counts.set(answer.slice(0, 100), (this.#counts.get(answer.slice(0, 100)) ?? 0) + 1);
  }

  get found(): Quality['labels'] {
    const few = this.#counts.size <= MOST_LABELS && this.#counts.size < this.#rows / 4;
    if (this.#rows < 20 || !few || this.#words > this.#rows * LABEL_WORDS) return null;
    return [...this.#counts].map(([label, rows]) => ({ label, rows })).sort((a, b) => b.rows - a.rows);
  }
}
