/**
 * @file What a run answered to the questions of a proof, kept for its next export: a file by the key of all that the
 * answers depend on. It may vanish at any time, and what is damaged or of another version counts as not there.
 */
import { createHash } from 'node:crypto';
import { globSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { Time } from '../contract/entities.ts';
import { freeBytes, keepNewest } from '../formats/disk.ts';
import { ANSWERS } from '../runs/folders.ts';
import type { ExampleLoss } from '../engine/train/evaluate.ts';
import type { Likelihood, Replay } from './proof.ts';

const VERSION = 1;
/** Of a home; the oldest go. Answers of SmolLM2 take 47 MB, of a vocabulary of 256,000 tokens 250 MB. */
const MOST_BYTES = 1e9;
/** Left free on the disk: what an export still writes goes first. */
const SPARE_BYTES = 500e6;
const SUFFIX = '.answers';

export interface KeptAnswers {
  /** When the run was asked. */
  readonly askedAt: string;
  readonly replays: readonly Replay[];
  readonly likelihood: Likelihood;
  readonly rows: readonly ExampleLoss[];
}

/** What stands before the logits, on one line. */
const Head = z.strictObject({
  version: z.literal(VERSION),
  askedAt: Time,
  /** Tokens of each prompt that was gone on with. */
  ids: z.array(z.array(z.int().min(0))),
  vocab: z.int().min(0),
  likelihood: z.strictObject({ rows: z.int(), tokens: z.int(), loss: z.number() }),
  rows: z.array(z.strictObject({ sum: z.number(), count: z.int() })),
});

const DIGEST_LENGTH = 64;
const digestOf = (pieces: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
};
const fileOf = (folder: string, key: string): string => join(folder, key + SUFFIX);

/** Null where there is none, or none that can be believed. */
export async function readKept(folder: string, key: string): Promise<KeptAnswers | null> {
  const file = await readFile(fileOf(folder, key)).catch(() => null);
  const content = file?.subarray(DIGEST_LENGTH);
  if (!file || !content || file.toString('latin1', 0, DIGEST_LENGTH) !== digestOf([content])) return null;
  const end = content.indexOf('\n');
  const head = Head.safeParse(parsed(content.toString('utf8', 0, end))).data;
  if (!head) return null;
  const { askedAt, ids, vocab, likelihood, rows } = head;
  const logits = new Float32Array(ids.flat().length * vocab);
  const bytes = content.subarray(end + 1);
  if (bytes.length !== logits.byteLength) return null;
  new Uint8Array(logits.buffer).set(bytes);
  let at = 0;
  const next = (): Float32Array => logits.subarray(at * vocab, ++at * vocab);
  return { askedAt, likelihood, rows, replays: ids.map((each) => ({ ids: each, logits: each.map(next) })) };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // Of another version, whose head is no line of JSON.
    return null;
  }
}

/** Whole or not at all. Where there is no room for them, or they cannot be written, they are asked for again: that is all. */
export async function keepAnswers(folder: string, key: string, answers: KeptAnswers): Promise<void> {
  const { askedAt, replays, likelihood, rows } = answers;
  const logits = replays.flatMap((replay) => replay.logits);
  const vocab = logits[0]?.length ?? 0;
  const head: z.input<typeof Head> = {
    version: VERSION,
    askedAt,
    ids: replays.map(({ ids }) => [...ids]),
    vocab,
    likelihood,
    rows: [...rows],
  };
  const content = [
    Buffer.from(`${JSON.stringify(head)}\n`),
    ...logits.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
  ];
  const bytes = content.reduce((sum, { length }) => sum + length, 0);
  if (bytes > MOST_BYTES / 2) return;
  const part = `${fileOf(folder, key)}.part`;
  try {
    if ((await freeBytes(dirname(folder))) < bytes + SPARE_BYTES) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = await open(part, 'w', 0o600);
    try {
      await file.writeFile(digestOf(content));
      for (const piece of content) await file.writeFile(piece);
    } finally {
      await file.close();
    }
    await rename(part, fileOf(folder, key));
  } catch {
    await rm(part, { force: true }).catch(() => undefined);
  }
}

/** Of all runs of a home the newest stay, as far as there is room for them, and no piece of one. */
export async function forgetOldest(projects: string, most = MOST_BYTES): Promise<void> {
  const paths = globSync(join('*', 'runs', '*', ANSWERS, '*'), { cwd: projects }).map((name) => join(projects, name));
  const whole = paths.filter((path) => path.endsWith(SUFFIX));
  for (const path of paths) if (!whole.includes(path)) await rm(path, { force: true });
  await keepNewest(whole, most);
}
