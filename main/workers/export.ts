/** @file Child process: writes a run's adapter, or the model merged with it, and proves the files against the run before they get their name. */
import { existsSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import type { Handed } from '../contract/clients.ts';
import type { Export, Proof } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { modelCard, recipeFile, type CardFacts } from '../exports/card.ts';
import { checkRoom } from '../exports/room.ts';
import { flushTree } from '../formats/flush.ts';
import type { ModelFiles } from '../formats/model.ts';
import { sha256 } from '../formats/sha256.ts';
import { runChild } from './child.ts';
import { openStages } from './load.ts';
import { disproven, prove, type Say } from './prove-export.ts';
import { translated, weightBytes, writeFiles } from './writers.ts';

export interface ExportJob {
  readonly format: Export['format'];
  readonly dtype: Export['dtype'];
  /** Absolute; must not exist. It gets this name once it is whole and proven. */
  readonly folder: string;
  /** Where it grows until then; whoever made it takes it away, however this process ends. */
  readonly staging: string;
  readonly model: string;
  /** The checkpoint's folder. */
  readonly adapter: string;
  /** Where the run's answers are kept for its other exports. */
  readonly answersFolder: string;
  /** Adapters of the stages under it, first to last. */
  readonly under: readonly string[];
  /** The adapter of this stage only, which needs the others merged under it; else all stages as one. */
  readonly alone: boolean;
  /** It has learned to answer: where the base has no chat template, the plain one goes with it. */
  readonly answers: boolean;
  /** With a PEFT adapter: the base beside it. */
  readonly withBase: boolean;
  /** Rows whose held-out part is replayed as the proof; null for general data of Fettle's own. */
  readonly rows: string | null;
  /** Tokens of an example that the run was trained with; null of one that was made elsewhere. */
  readonly maxLength: number | null;
  readonly threads: number;
  readonly card: CardFacts;
}
export interface ExportEvent {
  readonly stage: string;
  readonly progress: number;
}
export type ExportResult = Pick<Export, 'bytes' | 'files'> & {
  readonly proof: Proof;
  readonly handed: Omit<Handed, 'files' | 'format'>;
};

/** Beside the model's own bytes: tokenizer, card, proof. */
const ROOM = 50e6;

runChild<ExportJob, ExportEvent, ExportResult>(async (job, { emit, signal }) => {
  const say: Say = (stage, progress) => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The export was cancelled.', 'Nothing was kept.');
    emit({ stage, progress });
  };
  const { staging } = job;
  say('Looking at the model', 0);
  const opened = await openStages(job.model, job.under);
  let proof: Proof;
  let handed: ExportResult['handed'];
  try {
    // A base model that has learned text alone has no form of conversation, and none is claimed for it.
    const chatTemplate = opened.files.chatTemplate ?? (job.answers ? opened.template : null);
    const files = { ...opened.files, chatTemplate };
    const ollama = job.format === 'ollama' ? translated(files) : null;
    await checkTarget(job, files);
    // Before a model lies in memory: writing takes one tensor at a time.
    const lora = await writeFiles(
      job,
      staging,
      { files, ollama, ownTemplate: opened.files.chatTemplate !== null },
      (share) => say('Writing the files', 0.2 * share),
    );
    proof = await prove(job, staging, { ...opened, files }, say);
    if (ollama) proof = { ...proof, template: { conversations: ollama.conversations, equal: ollama.conversations } };
    const { name, hash } = job.card.base;
    const [only, ...others] = await weightHashes(job, signal);
    const stage = job.card.stages.at(-1);
    handed = {
      base: {
        name,
        hash: only && others.length === 0 ? only.hash : hash,
        severalFiles: others.length > 0,
        gguf: job.model.endsWith('.gguf'),
      },
      ...(stage && job.alone ? { over: { run: stage.run, checkpoint: stage.checkpoint } } : {}),
      rank: lora?.rank ?? 0,
      moreThanLora: lora !== null && (lora.useDora === true || (lora.modulesToSave ?? []).length > 0),
      converses: chatTemplate !== null,
    };
  } finally {
    await opened.close();
  }
  if (proof.verdict === 'different' || proof.readers.some(({ agrees }) => !agrees)) throw disproven(job, proof);
  say('Finishing', 0.97);
  const written = await listFiles(staging);
  const card = modelCard(job.card, { format: job.format, dtype: job.dtype, proof }, { ...handed, ...namesOf(written) });
  await writeFile(join(staging, 'README.md'), card);
  const json = (name: string, value: unknown): Promise<void> =>
    writeFile(join(staging, name), `${JSON.stringify(value, null, 2)}\n`);
  await json('recipe.json', recipeFile(job.card, handed));
  await json('proof.json', proof);
  // Of a power cut it may be said: what has its name is whole.
  await flushTree(staging);
  return { ...(await listFiles(staging)), proof, handed };
});

const namesOf = ({ files }: Pick<Export, 'files'>): { files: string[] } => ({ files: files.map(({ name }) => name) });

/**
 * What the format cannot hold, and what has no place on the disk, is refused before anything is done.
 * @throws EXPORT_UNSUPPORTED, CHECKPOINT_NOT_FOUND, TARGET_EXISTS, DISK_FULL
 */
async function checkTarget(job: ExportJob, files: ModelFiles): Promise<void> {
  for (const folder of [...job.under, job.adapter])
    if (!existsSync(folder))
      throw new FettleError(
        'CHECKPOINT_NOT_FOUND',
        `The checkpoint ${basename(folder)} is no longer there.`,
        'Choose another checkpoint of the run.',
      );
  await checkRoom(job.folder, ROOM + (await weightBytes(job, files)));
}

/** SHA-256 of the base's files of weights, so that whoever gets an adapter can tell whether theirs is the same. */
async function weightHashes(
  { format, model }: ExportJob,
  signal: AbortSignal,
): Promise<{ name: string; hash: string }[]> {
  if (format !== 'adapter' && format !== 'gguf-adapter') return [];
  const folder = (await stat(model)).isDirectory();
  const names = folder ? (await readdir(model)).filter((name) => name.endsWith('.safetensors')).sort() : [''];
  const hashes: { name: string; hash: string }[] = [];
  for (const name of names) {
    hashes.push({ name: name || basename(model), hash: await sha256(join(model, name), signal) });
  }
  return hashes;
}

async function listFiles(folder: string): Promise<Pick<Export, 'bytes' | 'files'>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
  const files = await Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
  return { files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}
