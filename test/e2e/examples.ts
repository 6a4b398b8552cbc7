/** @file Files that people bring: examples in one house style, text of the same field, and files that cannot be read. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const THINGS = ['kettle', 'lamp', 'chair', 'bicycle', 'radio', 'clock', 'umbrella', 'heater'];
const FAULTS = [
  'does not switch on',
  'makes a loud noise',
  'lost a screw',
  'is scratched',
  'leaks',
  'smells of burning',
];
const NAMES = ['Ana', 'Ben', 'Cleo', 'Dev', 'Eve'];

const pairs = THINGS.flatMap((thing) =>
  FAULTS.flatMap((fault) =>
    NAMES.map((name) => ({
      instruction: `${name} writes that the ${thing} ${fault}.`,
      response: `Dear ${name}, thank you for telling us that the ${thing} ${fault}. A new ${thing} comes on Monday. Kind regards, the workshop.`,
    })),
  ),
);

/** 240 different pairs, and two rows that are left out: one twice, one without an answer. */
export async function writeExamples(folder: string): Promise<string> {
  const path = join(folder, 'replies.jsonl');
  const rows = [...pairs, pairs[3], { instruction: 'Nobody answered this.', response: '' }];
  await writeFile(path, `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`);
  return path;
}

export async function writeFileOf(folder: string, name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
