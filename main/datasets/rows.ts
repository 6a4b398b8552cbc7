/** @file A dataset version on disk: rows.jsonl, one row a line, in a fixed order. Its SHA-256 names the version. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { ChatTurn } from '../contract/entities.ts';

export const StoredRow = z.object({
  index: z.int(),
  split: z.enum(['train', 'held-out']),
  /** File and line it came from, for people. */
  source: z.string(),
  messages: z.array(ChatTurn).optional(),
  text: z.string().optional(),
});
export type StoredRow = z.infer<typeof StoredRow>;

export async function* readRows(file: string): AsyncIterable<StoredRow> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity }))
    yield StoredRow.parse(JSON.parse(line));
}

/** All the text of a row, for counting and searching. */
export const textOfRow = (row: Pick<StoredRow, 'messages' | 'text'>): string =>
  row.text ?? row.messages?.map((turn) => turn.content).join('\n') ?? '';
