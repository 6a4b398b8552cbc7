/** @file A file of inputs: its rows as they are, which column is the prompt, and what the model is given of a row. */
import { open, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type { ChatTurn, InputFile } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { contentOf, isRow, joined, ROLES, textOf, type Row } from '../datasets/map-row.ts';
import { readFile } from '../datasets/read/index.ts';

/** Endings of files whose rows can be answered. */
const TABLES = ['.jsonl', '.ndjson', '.json', '.csv', '.tsv', '.parquet'];
/** A row, or why there is none at this place. */
export type InputRow = { readonly row: Row } | { readonly bad: string };

/** Rows by blocks, in order, bad ones at their places. @throws FILE_*, FORMAT_*, DATA_EMPTY */
export async function* readInputs(path: string): AsyncGenerator<readonly InputRow[]> {
  const name = basename(path);
  const info = await stat(path).catch((error: unknown) => {
    throw toFettleError(error);
  });
  if (info.isDirectory())
    throw new FettleError('FILE_UNREADABLE', `${name} is a folder.`, 'Name one file with a row for each question.');
  if (!TABLES.includes(extname(name).toLowerCase()))
    throw new FettleError(
      'FORMAT_UNKNOWN',
      `${name} is no list of inputs that Fettle can answer.`,
      `It answers ${TABLES.join(', ')}.`,
    );
  if (info.size === 0) throw new FettleError('FILE_EMPTY', `${name} is empty.`, 'Name a file that has rows.');
  for await (const block of readFile({ path, name, bytes: info.size }, {}))
    yield block.map((record) => {
      if (record.kind === 'value' && isRow(record.value)) return { row: record.value };
      const where = record.kind === 'text' || record.line === null ? '' : `line ${record.line}: `;
      return { bad: `${where}${record.kind === 'bad' ? record.reason : 'not a row with named columns'}` };
    });
}

/** Reads the whole once. @throws what `readInputs` throws, DATA_EMPTY where no row is one. */
export async function lookInto(path: string): Promise<Omit<InputFile, 'out'>> {
  const examples = new Map<string, unknown>();
  let rows = 0;
  let good = 0;
  for await (const block of readInputs(path))
    for (const each of block) {
      rows++;
      if (!('row' in each)) continue;
      good++;
      for (const [name, value] of Object.entries(each.row))
        if (!examples.has(name) || !hasText(examples.get(name))) examples.set(name, value);
    }
  if (good === 0)
    throw new FettleError(
      'DATA_EMPTY',
      `${basename(path)} has no row to answer.`,
      'Check the file, or its first line.',
    );
  const names = [...examples.keys()];
  const column = promptColumn(names, (name) => Array.isArray(examples.get(name)));
  return {
    path,
    name: basename(path),
    rows,
    columns: names.map((name) => ({ name, example: exampleOf(examples.get(name)) })),
    column,
    more: column === null ? null : moreColumn(column, names),
  };
}

const EXAMPLE_LENGTH = 120;
const hasText = (value: unknown): boolean => Array.isArray(value) || textOf(value) !== '';
const exampleOf = (value: unknown): string =>
  (typeof value === 'object' && value !== null ? JSON.stringify(value) : textOf(value)).slice(0, EXAMPLE_LENGTH);

const LISTS = ['messages', 'conversations'];
/** Columns that are a question wherever they are; then those that may as well be something else. */
const QUESTIONS = ['prompt', 'instruction', 'question'];
const PERHAPS = ['input', 'query', 'message', 'text', 'content'];

/** Never a guess where two are possible. */
function promptColumn(names: readonly string[], isList: (name: string) => boolean): string | null {
  const list = LISTS.find((name) => names.includes(name) && isList(name));
  if (list !== undefined) return list;
  if (names.length === 1) return names[0]!;
  for (const group of [QUESTIONS, PERHAPS]) {
    const found = names.filter((name) => group.includes(name.toLowerCase()));
    if (found.length > 0) return found.length === 1 ? found[0]! : null;
  }
  return null;
}

/** Pairs of columns that belong together in training data too. */
const TOGETHER: Readonly<Record<string, string>> = { instruction: 'input', question: 'context' };
export function moreColumn(column: string, names: readonly string[]): string | null {
  const more = TOGETHER[column];
  return more !== undefined && names.includes(more) ? more : null;
}

/** The conversation that a row asks a model to go on with; null where it asks nothing. */
export function questionIn(row: Row, column: string, more: string | null): readonly ChatTurn[] | null {
  const value = row[column];
  if (!Array.isArray(value)) {
    const text = joined(textOf(value), more === null ? '' : textOf(row[more]));
    return text === '' ? null : [{ role: 'user', content: text }];
  }
  const turns = value.flatMap((item: unknown): ChatTurn[] => {
    const named = isRow(item) ? (item['role'] ?? item['from']) : undefined;
    const role = typeof named === 'string' ? ROLES[named.toLowerCase()] : undefined;
    return role && isRow(item) ? [{ role, content: contentOf(item) }] : [];
  });
  // An answer that is there already is what is to be answered.
  const last = turns.findLastIndex(({ role, content }) => role === 'user' && content !== '');
  return last < 0 ? null : turns.slice(0, last + 1);
}

/** Texts to ask, one a row; a file of plain text has one a line. @throws what `readInputs` throws, INPUT_INVALID where the column must be said. */
export async function promptsIn(path: string, most: number): Promise<(readonly ChatTurn[])[]> {
  if (extname(path).toLowerCase() === '.txt') {
    const file = await open(path).catch((error: unknown) => {
      throw toFettleError(error);
    });
    const prompts: (readonly ChatTurn[])[] = [];
    for await (const line of file.readLines())
      if (line.trim() !== '' && prompts.length < most) prompts.push([{ role: 'user', content: line.trim() }]);
    return prompts;
  }
  const { name, column, more, columns } = await lookInto(path);
  if (column === null) throw whichColumn(name, columns);
  const prompts: (readonly ChatTurn[])[] = [];
  for await (const block of readInputs(path))
    for (const each of block) {
      const turns = 'row' in each ? questionIn(each.row, column, more) : null;
      if (turns && prompts.length < most) prompts.push(turns);
    }
  return prompts;
}

export const whichColumn = (name: string, columns: InputFile['columns']): FettleError =>
  new FettleError(
    'INPUT_INVALID',
    `It cannot be told which column of ${name} is the question: it has ${columns.map((each) => each.name).join(', ')}.`,
    'Name one with --column, or rename it to "prompt".',
  );
