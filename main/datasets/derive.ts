/** @file A new version from an old one: rows left out, changed, added, masked. What was held out stays held out. */
import type { Mark, PersonalKind, RowContent } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { maskPersonal } from './quality/personal.ts';
import { readLines, RowIndex, type Content, type StoredRow } from './rows.ts';
import { VersionWriter, type Version } from './version.ts';

export interface DeriveRequest {
  /** rows.jsonl of the version that it begins with. */
  readonly rows: string;
  /** The project's datasets/ folder. */
  readonly folder: string;
  /** Rows with any of these marks are left out. */
  readonly drop?: readonly Mark[];
  readonly changes?: readonly { readonly index: number; readonly row: RowContent | null }[];
  readonly add?: readonly RowContent[];
  readonly mask?: readonly PersonalKind[];
  /** Preference rows become pairs with the chosen answer. */
  readonly chosen?: boolean;
  /** Rows of more tokens than that are left out; `lengths` has a number for each row. */
  readonly longerThan?: number;
}
export interface Derived extends Version {
  /** Rows left out by this step, changed, added; finds masked. */
  readonly left: number;
  readonly changed: number;
  readonly added: number;
  readonly masked: number;
}
export interface DeriveControl {
  readonly onProgress?: (share: number) => void;
  readonly cancelled?: () => boolean;
}

/**
 * @param lengths tokens of each row, where `longerThan` is asked.
 * @throws DATA_EMPTY where nothing would be left to learn from or to judge by, INPUT_INVALID, CANCELLED.
 */
export async function derive(
  request: DeriveRequest,
  lengths: Uint32Array | null,
  control: DeriveControl = {},
): Promise<Derived> {
  const { rows, folder, drop = [], changes = [], add = [], mask = [], chosen = false, longerThan } = request;
  const index = await RowIndex.open(rows);
  if (drop.length > 0 && !index.looked)
    throw new FettleError(
      'INPUT_INVALID',
      'This version has not been looked through yet.',
      'Wait until it is, then clean.',
    );
  const beyond = changes.find((change) => change.index >= index.count);
  if (beyond)
    throw new FettleError(
      'INPUT_INVALID',
      `There is no row ${beyond.index} in this version.`,
      'Rows are counted from 0.',
    );
  const edits = new Map(changes.map((change) => [change.index, change.row]));
  const kinds = new Set(mask);
  const writer = new VersionWriter(folder);
  const sizes = { train: 0, 'held-out': 0 };
  const tally = { left: 0, changed: 0, added: 0, masked: 0 };
  const leave = (row: StoredRow, reason: string): void => {
    tally.left++;
    writer.drop(reason, row.source, null, JSON.stringify(row.messages ?? row.text));
  };
  const keep = (content: Content, split: StoredRow['split']): void => {
    const { content: masked, count } = kinds.size > 0 ? maskRow(content, kinds) : { content, count: 0 };
    tally.masked += count;
    if (writer.add(masked, split)) return void sizes[split]++;
    tally.left++;
    writer.drop('the same as an earlier row', content.source, null, '');
  };
  try {
    let done = 0;
    for await (const block of readLines(rows)) {
      if (control.cancelled?.())
        throw new FettleError('CANCELLED', 'The new version was cancelled.', 'Nothing was kept.');
      for (const line of block) {
        const row = line.row();
        const marks = drop.length > 0 ? index.marks(row.index).filter((it) => drop.includes(it)) : [];
        const length = lengths?.[row.index] ?? 0;
        const edit = edits.get(row.index);
        if (edit === null) leave(row, 'removed by hand');
        else if (marks[0]) leave(row, `marked ${marks[0]}`);
        else if (longerThan !== undefined && length > longerThan) leave(row, `longer than ${longerThan} tokens`);
        else {
          if (edit) tally.changed++;
          keep(edit ? written(edit, row.source) : contentOf(row, chosen), row.split);
        }
      }
      control.onProgress?.((done += block.length) / index.count);
    }
    for (const content of add) {
      tally.added++;
      keep(written(content, 'added by hand'), 'train');
    }
    if (sizes.train === 0 || sizes['held-out'] === 0)
      throw new FettleError(
        'DATA_EMPTY',
        `That would leave ${sizes.train} rows to learn from and ${sizes['held-out']} to judge by.`,
        'Leave out less; both are needed.',
      );
    return { ...writer.finish(0), ...tally };
  } catch (error) {
    writer.discard();
    throw toFettleError(error);
  }
}

function contentOf(row: StoredRow, chosen: boolean): Content {
  const { source, messages = [], tools, text, rejected } = row;
  if (text !== undefined) return { source, text };
  const talk = { source, messages, ...(tools ? { tools } : {}) };
  return rejected === undefined || chosen ? talk : { ...talk, rejected };
}

/** What a person wrote must be a row that can be learned from. */
function written(row: RowContent, source: string): Content {
  if ('text' in row) {
    if (row.text.trim() === '')
      throw new FettleError('INPUT_INVALID', 'A document without text teaches nothing.', 'Remove it instead.');
    return { source, text: row.text };
  }
  const last = row.messages.at(-1);
  if (last?.role !== 'assistant' || row.messages.some((turn) => turn.content.trim() === ''))
    throw new FettleError(
      'INPUT_INVALID',
      'An example needs a question and an answer, and ends with the answer.',
      'Fill both in, or remove the row.',
    );
  const { messages, tools, rejected } = row;
  return { source, messages, ...(tools ? { tools } : {}), ...(rejected === undefined ? {} : { rejected }) };
}

function maskRow(content: Content, kinds: ReadonlySet<PersonalKind>): { content: Content; count: number } {
  let count = 0;
  const masked = (text: string): string => {
    const result = maskPersonal(text, kinds);
    count += result.masked;
    return result.text;
  };
  const { source, messages, tools, text, rejected } = content;
  const out: Content =
    text !== undefined
      ? { source, text: masked(text) }
      : {
          source,
          messages: (messages ?? []).map((turn) => ({ role: turn.role, content: masked(turn.content) })),
          ...(tools ? { tools } : {}),
          ...(rejected === undefined ? {} : { rejected: masked(rejected) }),
        };
  return { content: out, count };
}
