/** @file SmolLM2 from its GGUF file, and what is asked of it in tests. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { ChatMessage } from '../../main/formats/model.ts';

export const SAMPLE_PAIRS = join(import.meta.dirname, '../../resources/sample/replies.jsonl');

/** The first rows of a file of pairs as conversations. */
export async function conversations(
  file: string,
  count: number,
  [question, answer]: readonly [string, string],
): Promise<ChatMessage[][]> {
  const rows: ChatMessage[][] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (rows.length === count) break;
    const row = JSON.parse(line) as Record<string, string>;
    rows.push([
      { role: 'user', content: row[question]! },
      { role: 'assistant', content: row[answer]! },
    ]);
  }
  return rows;
}

export const PROMPTS: readonly string[] = [
  'What is the capital of France?',
  'Write one sentence about the sea.',
  'My bicycle chain slips under load. What should I do?',
  'List three prime numbers.',
  'Explain in two sentences why the sky is blue.',
];
