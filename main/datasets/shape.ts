/** @file What a row's columns mean: the common shapes of instruction and conversation data, recognised by their keys and shown with the evidence. */
import { FettleError } from '../contract/errors.ts';
import type { ChatTurn, DatasetKind } from '../contract/entities.ts';

/** The meanings a column can have. */
export const MEANINGS = ['instruction', 'input', 'response', 'system', 'messages', 'text'] as const;
export type Meaning = (typeof MEANINGS)[number];
export type Mapping = Readonly<Partial<Record<Meaning, string>>>;

export interface Shape {
  readonly name: string;
  readonly kind: DatasetKind;
  readonly mapping: Mapping;
  readonly evidence: readonly string[];
}

/** Known pairs of columns, most specific first: [name, instruction, response, optional input]. */
const PAIRS: readonly (readonly [name: string, instruction: string, response: string, input?: string])[] = [
  ['Alpaca', 'instruction', 'output', 'input'],
  ['instruction and response', 'instruction', 'response', 'input'],
  ['prompt and completion', 'prompt', 'completion'],
  ['prompt and response', 'prompt', 'response'],
  ['question and answer', 'question', 'answer'],
  ['input and output', 'input', 'output'],
];
const CONVERSATIONS: readonly (readonly [name: string, column: string])[] = [
  ['OpenAI messages', 'messages'],
  ['ShareGPT', 'conversations'],
];
const TEXTS = ['text', 'content', 'document'];

type Row = Readonly<Record<string, unknown>>;
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The shape of some rows by their columns; `map` decides where it is given. A guess is never made where two readings are possible.
 * @throws DATA_SHAPE_UNKNOWN naming the columns found.
 */
export function recognise(sample: readonly unknown[], map: Readonly<Record<string, string>> = {}): Shape {
  const rows = sample.filter(isRow);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const share = (column: string): number =>
    rows.filter((row) => present(row[column])).length / Math.max(1, rows.length);
  const said = (column: string): string =>
    `column "${column}" in ${Math.round(share(column) * 100)}% of the rows looked at`;
  if (Object.keys(map).length > 0) return mapped(map, columns, said);

  const readings: Shape[] = [];
  for (const [name, column] of CONVERSATIONS)
    if (columns.includes(column) && rows.some((row) => Array.isArray(row[column])))
      readings.push({ name, kind: 'conversation', mapping: { messages: column }, evidence: [said(column)] });
  for (const [name, instruction, response, input] of PAIRS)
    if (columns.includes(instruction) && columns.includes(response)) {
      const withInput = input !== undefined && columns.includes(input);
      const system = columns.includes('system');
      readings.push({
        name,
        kind: 'instruction',
        mapping: { instruction, response, ...(withInput ? { input } : {}), ...(system ? { system: 'system' } : {}) },
        evidence: [instruction, ...(withInput ? [input] : []), response].map(said),
      });
    }
  // "input and output" is a part of Alpaca's columns, not a second reading of them.
  const distinct = readings.filter((a) => !readings.some((b) => b !== a && contains(b.mapping, a.mapping)));
  if (distinct.length > 1)
    throw new FettleError(
      'DATA_SHAPE_UNKNOWN',
      `The columns ${list(columns)} can be read in more than one way: ${distinct.map((shape) => shape.name).join(' or ')}.`,
      'Say which columns to use, for example --map instruction=question --map response=answer.',
    );
  if (distinct[0]) return distinct[0];
  const text = TEXTS.find((column) => columns.includes(column) && rows.some((row) => typeof row[column] === 'string'));
  if (text) return { name: 'text', kind: 'prose', mapping: { text }, evidence: [said(text)] };
  throw new FettleError(
    'DATA_SHAPE_UNKNOWN',
    columns.length > 0 ? `The columns ${list(columns)} are none that Fettle knows.` : 'The rows have no columns.',
    'Say what they mean, for example --map instruction=question --map response=answer.',
  );
}

function mapped(
  map: Readonly<Record<string, string>>,
  columns: readonly string[],
  said: (column: string) => string,
): Shape {
  for (const [meaning, column] of Object.entries(map)) {
    if (!(MEANINGS as readonly string[]).includes(meaning))
      throw new FettleError(
        'USAGE',
        `${JSON.stringify(meaning)} is not a meaning that a column can have.`,
        `Meanings are ${MEANINGS.join(', ')}.`,
      );
    if (!columns.includes(column))
      throw new FettleError(
        'DATA_SHAPE_UNKNOWN',
        `There is no column ${JSON.stringify(column)}.`,
        `The columns are ${list(columns)}.`,
      );
  }
  const mapping = map as Mapping;
  const evidence = ['as mapped by hand', ...Object.values(map).map(said)];
  if (mapping.messages) return { name: 'mapped conversations', kind: 'conversation', mapping, evidence };
  if (mapping.text) return { name: 'mapped text', kind: 'prose', mapping, evidence };
  if (mapping.instruction && mapping.response) return { name: 'mapped pairs', kind: 'instruction', mapping, evidence };
  throw new FettleError('USAGE', 'The mapping is not complete.', 'Map instruction and response, or messages, or text.');
}

const contains = (outer: Mapping, inner: Mapping): boolean => {
  const columns = new Set(Object.values(outer));
  return Object.values(inner).every((column) => columns.has(column)) && Object.values(inner).length < columns.size;
};
const list = (columns: readonly string[]): string =>
  columns
    .slice(0, 12)
    .map((column) => JSON.stringify(column))
    .join(', ');
const present = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

/** A row in Fettle's own form, or why it cannot be used. */
export type Mapped =
  | { readonly ok: true; readonly messages: ChatTurn[] }
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };
const drop = (reason: string): Mapped => ({ ok: false, reason });

export function mapRow(value: unknown, shape: Shape): Mapped {
  if (!isRow(value)) return drop('not an object with columns');
  const { mapping } = shape;
  if (mapping.messages) return conversation(value[mapping.messages], textOf(value[mapping.system ?? 'system']));
  if (mapping.text) {
    const text = textOf(value[mapping.text]);
    return text ? { ok: true, text } : drop('no text');
  }
  const instruction = textOf(value[mapping.instruction ?? '']);
  const input = mapping.input ? textOf(value[mapping.input]) : '';
  const response = textOf(value[mapping.response ?? '']);
  const system = mapping.system ? textOf(value[mapping.system]) : '';
  const user = [instruction, input].filter((part) => part !== '').join('\n\n');
  if (user === '') return drop('no instruction');
  if (response === '') return drop('no response');
  return {
    ok: true,
    messages: [
      ...(system ? [{ role: 'system' as const, content: system }] : []),
      { role: 'user', content: user },
      { role: 'assistant', content: response },
    ],
  };
}

/** Numbers are taken as written; anything else that is no text counts as missing. NUL bytes have no meaning in text. */
const textOf = (value: unknown): string =>
  typeof value === 'number' ? String(value) : typeof value === 'string' ? value.replaceAll('\0', '').trim() : '';

const ROLES: Readonly<Record<string, ChatTurn['role']>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
};

/** OpenAI's {role, content} and ShareGPT's {from, value}, roles in any case. */
function conversation(value: unknown, system: string): Mapped {
  if (!Array.isArray(value) || value.length === 0) return drop('no messages');
  const turns: ChatTurn[] = system ? [{ role: 'system', content: system }] : [];
  for (const item of value) {
    if (!isRow(item)) return drop('a message that is no object');
    const said = String(item.role ?? item.from ?? '').toLowerCase();
    const role = ROLES[said];
    if (!role) return drop(said ? `the role "${said.slice(0, 30)}" is not supported` : 'a message without a role');
    const content = textOf(item.content ?? item.value);
    if (content === '') return drop('an empty message');
    if (role === 'system' && turns.some((turn) => turn.role !== 'system'))
      return drop('a system message in the middle');
    turns.push({ role, content });
  }
  const spoken = turns.filter((turn) => turn.role !== 'system');
  if (spoken[0]?.role === 'assistant') return drop('starts with the assistant');
  if (!spoken.some((turn) => turn.role === 'assistant')) return drop('no answer of the assistant');
  if (spoken.some((turn, i) => i > 0 && turn.role === spoken[i - 1]!.role))
    return drop('two turns of the same speaker in a row');
  return { ok: true, messages: turns };
}
