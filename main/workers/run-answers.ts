/** @file What a run itself answers to the questions of a proof: asked once of a checkpoint, and kept for its other exports as long as nothing has changed that the answers depend on. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { FETTLE_VERSION, runtimeVersion } from '../engine/version.ts';
import { keepAnswers, readKept, type KeptAnswers } from '../exports/kept-answers.ts';
import { ADAPTER_CONFIG_FILE, ADAPTER_FILE } from '../formats/peft.ts';
import { sha256 } from '../formats/sha256.ts';
import { WHOLE_FILE } from '../formats/tuned.ts';
import type { ExportJob } from './export.ts';
import type { Answers, Questions } from './prove.ts';

export interface RunAnswers extends Answers {
  readonly askedAt: string;
  /** Of an export before, and not asked again. */
  readonly kept: boolean;
}

/** The run's answers: those that are kept, else what `ask` gives, which is kept then. */
export async function answersOfRun(
  job: ExportJob,
  questions: Questions,
  ask: () => Promise<Answers>,
): Promise<RunAnswers> {
  const key = await keyOf(job, questions);
  const kept = await readKept(job.answersFolder, key);
  if (kept) return { ...kept, kept: true };
  const asked: KeptAnswers = { ...(await ask()), askedAt: new Date().toISOString() };
  await keepAnswers(job.answersFolder, key, asked);
  return { ...asked, kept: false };
}

/** All that decides the answers, to the last bit. */
async function keyOf(
  { model, under, adapter, threads, card }: ExportJob,
  { prompts, rows, instruct, maxLength }: Questions,
): Promise<string> {
  const hash = createHash('sha256');
  const add = (...facts: readonly unknown[]): void => void hash.update(`${JSON.stringify(facts)}\n`);
  add(FETTLE_VERSION, codeDigest(), runtimeVersion(), process.versions.node, process.platform, process.arch);
  add(cpus()[0]?.model, threads);
  add(card.base.hash, await stampsOf(model));
  for (const folder of [...under, adapter])
    for (const name of [ADAPTER_CONFIG_FILE, ADAPTER_FILE, WHOLE_FILE])
      if (existsSync(join(folder, name))) add(name, await sha256(join(folder, name)));
  add(instruct, maxLength, prompts);
  for (const { ids, loss } of rows) add([...ids], [...loss]);
  return hash.digest('hex');
}

/** The library knows a model by its content; whoever has changed its files there since is noticed by this. */
async function stampsOf(model: string): Promise<unknown[]> {
  const names = (await stat(model)).isDirectory() ? (await readdir(model)).sort() : [''];
  const stamp = async (name: string): Promise<unknown[]> => {
    const { size, mtimeMs } = await stat(join(model, name));
    return [name, size, mtimeMs];
  };
  return Promise.all(names.map(stamp));
}

/** Of the program itself: run from its sources, it may change without another version. */
function codeDigest(): string {
  const hash = createHash('sha256');
  const add = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) add(path);
      else hash.update(entry.name).update(readFileSync(path));
    }
  };
  add(join(import.meta.dirname, '..'));
  return hash.digest('hex');
}
