/** @file What a row's columns mean: the common shapes of examples, conversations, preferences and text, recognised by their columns and shown with the evidence. */
import type { DatasetKind, ShapeFound } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Row } from './map-row.ts';

/** The meanings a column can have. */
export const MEANINGS = [
  'instruction',
  'input',
  'response',
  'system',
  'messages',
  'tools',
  'instances',
  'prompt',
  'chosen',
  'rejected',
  'text',
] as const;
export type Meaning = (typeof MEANINGS)[number];
export type Mapping = Readonly<Partial<Record<Meaning, string>>>;

export interface Shape {
  readonly name: string;
  readonly kind: DatasetKind;
  readonly mapping: Mapping;
}

/** Known pairs of columns: [name, instruction, response, optional input]. */
const PAIRS: readonly (readonly [name: string, instruction: string, response: string, input?: string])[] = [
  ['Alpaca', 'instruction', 'output', 'input'],
  ['instruction and response', 'instruction', 'response', 'input'],
  ['prompt and completion', 'prompt', 'completion'],
  ['prompt and response', 'prompt', 'response'],
  ['question and answer', 'question', 'answer', 'context'],
  ['input and output', 'input', 'output'],
  ['text and label', 'text', 'label'],
];
const CONVERSATIONS: readonly (readonly [name: string, column: string])[] = [
  ['OpenAI messages', 'messages'],
  ['ShareGPT', 'conversations'],
];
const TEXTS = ['text', 'content', 'document'];
/** Rows of the same columns are recognised once; so many different sets of columns are remembered. */
const MAX_SIGNATURES = 2000;

/** What a row is: its shape, two that are possible, or none. */
export type Reading =
  | { readonly is: 'shape'; readonly shape: Shape }
  | { readonly is: 'ambiguous'; readonly shapes: readonly Shape[]; readonly columns: readonly string[] }
  | { readonly is: 'unknown'; readonly columns: readonly string[] };

/** Reads rows one by one and counts what it recognised. One a file: what a column means may differ between files. */
export class Recogniser {
  readonly #mapped: Shape | null;
  readonly #known = new Map<string, Reading>();
  readonly #found = new Map<string, { shape: Shape; rows: number; present: Map<string, number> }>();
  #rows = 0;

  /** @param map meaning to column, decided by hand; it goes before every guess. Throws USAGE. */
  constructor(map: Readonly<Record<string, string>> = {}) {
    this.#mapped = Object.keys(map).length > 0 ? mappedShape(map) : null;
  }

  read(row: Row): Reading {
    this.#rows++;
    const reading = this.#mapped ? this.#byHand(row, this.#mapped) : this.#guess(row);
    if (reading.is === 'shape') this.#count(row, reading.shape);
    return reading;
  }

  /** The shapes recognised so far, most rows first, each with its evidence. */
  get found(): (ShapeFound & { readonly kind: DatasetKind })[] {
    return [...this.#found.values()]
      .sort((a, b) => b.rows - a.rows)
      .map(({ shape, rows, present }) => ({
        name: shape.name,
        kind: shape.kind,
        rows,
        mapping: { ...shape.mapping } as Record<string, string>,
        evidence: [
          ...(this.#mapped ? ['as mapped by hand'] : []),
          ...[...present].map(
            ([column, count]) => `column "${column}" in ${Math.floor((count / this.#rows) * 100)}% of the rows`,
          ),
        ],
      }));
  }

  #byHand(row: Row, shape: Shape): Reading {
    const columns = Object.keys(row);
    // Rows that have none of the mapped columns are another kind of row, and are recognised by themselves.
    return Object.values(shape.mapping).some((column) => column in row)
      ? { is: 'shape', shape }
      : { is: 'unknown', columns };
  }

  #guess(row: Row): Reading {
    const columns = Object.keys(row);
    let signature = '';
    for (const column of columns) signature += `${column}\u0001${typeOf(row[column])}`;
    let reading = this.#known.get(signature);
    if (!reading) {
      reading = readingOf(row, columns, (column) => present(row[column]));
      // Columns that are there and empty say what was meant; mapping the row will say what it lacks.
      if (reading.is === 'unknown') reading = readingOf(row, columns, (column) => column in row);
      if (this.#known.size < MAX_SIGNATURES) this.#known.set(signature, reading);
    }
    if (reading.is !== 'unknown') return reading;
    // A row that lacks a column of the shape its neighbours have is one of them, and will say what it lacks.
    const like = [...this.#found.values()].find(({ shape }) =>
      Object.values(shape.mapping).some((column) => column in row),
    );
    return like ? { is: 'shape', shape: like.shape } : reading;
  }

  #count(row: Row, shape: Shape): void {
    let entry = this.#found.get(shape.name);
    if (!entry) {
      entry = { shape, rows: 0, present: new Map(Object.values(shape.mapping).map((column) => [column, 0])) };
      this.#found.set(shape.name, entry);
    }
    // The same shape with one more optional column is still that shape.
    if (Object.keys(shape.mapping).length > Object.keys(entry.shape.mapping).length) entry.shape = shape;
    entry.rows++;
    for (const column of Object.values(shape.mapping))
      if (present(row[column])) entry.present.set(column, (entry.present.get(column) ?? 0) + 1);
  }
}

const present = (value: unknown): boolean => value !== undefined && value !== null && value !== '';
const typeOf = (value: unknown): string =>
  !present(value) ? '-' : Array.isArray(value) ? 'a' : typeof value === 'object' ? 'o' : 's';

/** A guess is never made where two readings are possible. */
function readingOf(row: Row, columns: readonly string[], has: (column: string) => boolean): Reading {
  const isList = (column: string): boolean => Array.isArray(row[column]);
  const optional = (meaning: Meaning, column: string | undefined): Mapping =>
    column !== undefined && has(column) ? { [meaning]: column } : {};
  if (has('chosen') && has('rejected'))
    return {
      is: 'shape',
      shape: {
        name: 'preferences',
        kind: 'preference',
        mapping: {
          ...optional('prompt', ['prompt', 'question', 'instruction', 'input'].find(has)),
          ...optional('system', 'system'),
          chosen: 'chosen',
          rejected: 'rejected',
        },
      },
    };
  const readings: Shape[] = [];
  for (const [name, column] of CONVERSATIONS)
    if (isList(column))
      readings.push({
        name,
        kind: 'conversation',
        mapping: {
          messages: column,
          ...optional('system', 'system'),
          ...optional('tools', ['tools', 'functions'].find(has)),
        },
      });
  if (has('instruction') && isList('instances'))
    readings.push({
      name: 'nested instances',
      kind: 'instruction',
      mapping: { instruction: 'instruction', instances: 'instances' },
    });
  for (const [name, instruction, response, input] of PAIRS)
    if (has(instruction) && has(response))
      readings.push({
        name,
        kind: 'instruction',
        mapping: { instruction, ...optional('input', input), response, ...optional('system', 'system') },
      });
  const text = TEXTS.find((column) => typeof row[column] === 'string' && has(column));
  const labelled = text === 'text' && has('label');
  if (text && (readings.length === 0 || labelled)) readings.push({ name: 'text', kind: 'prose', mapping: { text } });
  // "input and output" is a part of Alpaca's columns, not a second reading of them.
  const distinct = readings.filter((a) => !readings.some((b) => b !== a && b.kind === a.kind && contains(b, a)));
  if (distinct.length > 1) return { is: 'ambiguous', shapes: distinct, columns };
  return distinct[0] ? { is: 'shape', shape: distinct[0] } : { is: 'unknown', columns };
}

function contains(outer: Shape, inner: Shape): boolean {
  const columns = new Set(Object.values(outer.mapping));
  const own = Object.values(inner.mapping);
  return own.every((column) => columns.has(column)) && own.length < columns.size;
}

/** Throws USAGE where a meaning is none, or the mapping lacks one. */
function mappedShape(map: Readonly<Record<string, string>>): Shape {
  for (const meaning of Object.keys(map))
    if (!(MEANINGS as readonly string[]).includes(meaning))
      throw new FettleError(
        'USAGE',
        `${JSON.stringify(meaning)} is not a meaning that a column can have.`,
        `Meanings are ${MEANINGS.join(', ')}.`,
      );
  const mapping = map as Mapping;
  if (mapping.messages) return { name: 'mapped conversations', kind: 'conversation', mapping };
  if (mapping.chosen && mapping.rejected) return { name: 'mapped preferences', kind: 'preference', mapping };
  if (mapping.text) return { name: 'mapped text', kind: 'prose', mapping };
  if (mapping.instruction && (mapping.response || mapping.instances))
    return { name: 'mapped pairs', kind: 'instruction', mapping };
  throw new FettleError(
    'USAGE',
    'The mapping is not complete.',
    'Map instruction and response, or messages, or chosen and rejected, or text.',
  );
}

/** @throws DATA_SHAPE_UNKNOWN for a file whose rows cannot be read without asking; `details.readings` has the possible ones. */
export function askFor(reading: Exclude<Reading, { is: 'shape' }>, file: string): FettleError {
  const columns = reading.columns
    .slice(0, 12)
    .map((column) => JSON.stringify(column))
    .join(', ');
  const example = 'for example --map instruction=question --map response=answer.';
  if (reading.is === 'ambiguous')
    return new FettleError(
      'DATA_SHAPE_UNKNOWN',
      `${file}: the columns ${columns} can be read in more than one way: ${reading.shapes.map(({ name }) => name).join(' or ')}.`,
      `Say which columns to use, ${example}`,
      {
        details: {
          readings: reading.shapes.map(({ name, mapping }) => ({ name, mapping })),
          columns: reading.columns.slice(0, 200),
        },
      },
    );
  return new FettleError(
    'DATA_SHAPE_UNKNOWN',
    columns ? `${file}: the columns ${columns} are none that Fettle knows.` : `${file}: the rows have no columns.`,
    `Say what they mean, ${example}`,
    { details: { columns: reading.columns.slice(0, 200) } },
  );
}
