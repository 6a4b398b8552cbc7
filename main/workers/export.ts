/** @file Child process: writes a run's adapter, or the model merged with it, and proves the files against the run before they get their name. */
import { existsSync } from 'node:fs';
import { readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { z } from 'zod';
import type { Handed } from '../contract/clients.ts';
import type { Export, Proof } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { NEXT, ONNX_TYPES } from '../contract/export-types.ts';
import { readSpec } from '../engine/index.ts';
import { graphPath } from '../engine/export/folder.ts';
import { OnnxReader, RUNTIME } from '../engine/export/read.ts';
import { modelCard, recipeFile, type CardFacts } from '../exports/card.ts';
import { compareAnswers } from '../exports/proof.ts';
import { checkRoom, checkUntaken, makeStaging } from '../exports/room.ts';
import { sha256 } from '../formats/sha256.ts';
import { readAdapterGguf } from '../formats/gguf/adapter.ts';
import { writeModelGguf } from '../formats/gguf/export.ts';
import type { ModelFiles } from '../formats/model.ts';
import { runChild } from './child.ts';
import { llamaCppInstalled } from './llama-cpp.ts';
import { loadModel, openStages, withAdapter, withOpened, type OpenedModel } from './load.ts';
import {
  ask,
  asksSomething,
  askFiles,
  askLlamaCpp,
  askTransformersJs,
  generalQuestions,
  lossWith,
  questionsOf,
  type Answers,
  type Questions,
} from './prove.ts';
import { ggufName, needsBase, translated, weightBytes, writeFiles } from './writers.ts';

export interface ExportJob {
  readonly format: Export['format'];
  readonly dtype: Export['dtype'];
  /** Absolute; must not exist. Made whole or not at all. */
  readonly folder: string;
  readonly model: string;
  /** The checkpoint's folder. */
  readonly adapter: string;
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

type Say = (stage: string, progress: number) => void;

runChild<ExportJob, ExportEvent, ExportResult>(async (job, { emit, signal }) => {
  const say: Say = (stage, progress) => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The export was cancelled.', 'Nothing was kept.');
    emit({ stage, progress });
  };
  const staging = join(dirname(job.folder), `.${job.card.title.replaceAll(/\W+/g, '-')}-${process.pid}.exporting`);
  let clear = (): Promise<void> => Promise.resolve();
  try {
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
      clear = await makeStaging(staging);
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
      const [only, ...others] = await weightHashes(job);
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
    const card = modelCard(
      job.card,
      { format: job.format, dtype: job.dtype, proof },
      { ...handed, ...namesOf(written) },
    );
    await writeFile(join(staging, 'README.md'), card);
    const json = (name: string, value: unknown): Promise<void> =>
      writeFile(join(staging, name), `${JSON.stringify(value, null, 2)}\n`);
    await json('recipe.json', recipeFile(job.card, handed));
    await json('proof.json', proof);
    const result = { ...(await listFiles(staging)), proof, handed };
    // Nothing is overwritten, not even what came there meanwhile.
    checkUntaken(job.folder);
    await rename(staging, job.folder);
    return result;
  } catch (error) {
    await clear();
    throw error;
  }
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
async function weightHashes({ format, model }: ExportJob): Promise<{ name: string; hash: string }[]> {
  if (format !== 'adapter' && format !== 'gguf-adapter') return [];
  const folder = (await stat(model)).isDirectory();
  const names = folder ? (await readdir(model)).filter((name) => name.endsWith('.safetensors')).sort() : [''];
  const hashes: { name: string; hash: string }[] = [];
  for (const name of names) {
    hashes.push({ name: name || basename(model), hash: await sha256(join(model, name)) });
  }
  return hashes;
}

function disproven(job: ExportJob, proof: Proof): FettleError {
  const { likelihood, tokensEqual, tokensCompared, readers } = proof;
  const other = readers.find(({ agrees }) => !agrees);
  const rounded = likelihood !== null && Math.abs(likelihood.change) > likelihood.allowed && job.dtype !== 'f32';
  const next = NEXT[job.dtype];
  const details = { proof };
  if (rounded && !other)
    return new FettleError(
      'EXPORT_FAILED',
      `With ${job.dtype} the loss on unseen rows changes by ${(100 * likelihood.change).toFixed(1)}%; ${(100 * likelihood.allowed).toFixed(0)}% are allowed. This model bears so few bits badly.`,
      `Nothing was kept.${next ? ` Try ${next}.` : ''}`,
      { details },
    );
  return new FettleError(
    'EXPORT_FAILED',
    other
      ? `${other.name} does not read the files as Fettle does: ${other.found}.`
      : `The exported files do not answer as the run does: ${tokensEqual} of ${tokensCompared} tokens are equal.`,
    'Nothing was kept. This is a fault in Fettle.',
    { details },
  );
}

/** The run is asked, then the files, read again as another program would, and by another program where one is installed. */
async function prove(job: ExportJob, folder: string, opened: OpenedModel, say: Say): Promise<Proof> {
  const { files, template } = opened;
  const text = { tokenizer: files.tokenizer, template };
  const span = { maxLength: job.maxLength, positions: readSpec(files.config).maxPositions };
  const ownQuestions = job.rows === null ? null : await questionsOf(job.rows, text, span);
  // Held-out rows of which none says anything prove nothing either.
  const questions =
    ownQuestions && asksSomething(ownQuestions)
      ? ownQuestions
      : await generalQuestions(text, files.chatTemplate !== null, span);
  const tell = (share: number): void => say('Asking the files', 0.55 + 0.4 * share);
  const asOne = !job.alone && job.under.length > 0;
  const gguf = job.format === 'gguf' || job.format === 'ollama' ? join(folder, ggufName(job)) : null;
  say('Loading the model', 0.2);
  const loaded = await loadModel(job.model, job.threads, job.under);
  let expected: Answers;
  const maxTokens = loaded.base.spec.maxPositions;
  try {
    expected = await ask(await withAdapter(loaded.base, job.adapter), questions, (share) =>
      say('Asking the run', 0.25 + 0.3 * share),
    );
    if (job.format === 'adapter' && !asOne && !job.withBase)
      return compareAnswers(expected, await ask(await withAdapter(loaded.base, folder), questions, tell), job.dtype);
  } finally {
    // One copy of the weights in memory at a time.
    await loaded.close();
  }
  if (job.format === 'gguf-adapter') return proveAdapterGguf(job, folder, opened, { questions, expected }, tell);
  if (job.format === 'onnx') return proveOnnx(job, { folder, files, questions, expected }, { maxTokens, tell });
  const where =
    job.format === 'adapter'
      ? { model: job.withBase ? join(folder, 'base') : job.model, adapter: folder }
      : { model: gguf ?? folder, adapter: null };
  const found = await askFiles(where, job.threads, questions, (share) => tell((gguf ? 0.7 : 1) * share));
  const proof = compareAnswers(expected, found, job.dtype);
  if (!gguf) return proof;
  tell(0.7);
  const read = await loadModel(gguf, job.threads);
  try {
    const own = { by: proof.by, answers: found, questions, lossOf: lossWith(read.base) };
    const other = await askLlamaCpp(gguf, files, own, { threads: job.threads, exact: isExact(job) });
    return { ...proof, readers: other ? [other] : [] };
  } finally {
    await read.close();
  }
}

/** An adapter's GGUF on the base: in Fettle, and in llama.cpp on the base's own GGUF, which is made for it where there is none. */
async function proveAdapterGguf(
  job: ExportJob,
  folder: string,
  { files }: OpenedModel,
  { questions, expected }: { readonly questions: Questions; readonly expected: Answers },
  tell: (share: number) => void,
): Promise<Proof> {
  const path = join(folder, ggufName(job));
  // All stages as one stand on the plain base, one stage alone on those before it.
  const read = await loadModel(job.model, job.threads, job.alone ? job.under : []);
  const made = join(folder, 'base-for-the-proof.gguf');
  try {
    const tuned = await withOpened(read.base, await readAdapterGguf(path, files.config));
    const found = await ask(tuned, questions, (share) => tell(0.6 * share));
    const proof = compareAnswers(expected, found, job.dtype);
    if (!(await llamaCppInstalled())) return proof;
    if (needsBase(job)) await writeModelGguf(made, read.files, 'f32', { name: job.card.base.name, license: null });
    tell(0.7);
    const own = { by: 'Fettle', answers: found, questions, lossOf: lossWith(tuned) };
    const exact = needsBase(job) || ['F32', 'F16'].includes(job.card.base.storage);
    const base = needsBase(job) ? made : job.model;
    const other = await askLlamaCpp(base, read.files, own, { threads: job.threads, exact, lora: path });
    return { ...proof, readers: other ? [other] : [] };
  } finally {
    await read.close();
    await rm(made, { force: true });
  }
}

/** Fettle reads no ONNX files itself: ONNX Runtime does, as any program that has it would, and transformers.js where it is installed. */
async function proveOnnx(
  job: ExportJob,
  {
    folder,
    files,
    questions,
    expected,
  }: {
    readonly folder: string;
    readonly files: ModelFiles;
    readonly questions: Questions;
    readonly expected: Answers;
  },
  { maxTokens, tell }: { readonly maxTokens: number; readonly tell: (share: number) => void },
): Promise<Proof> {
  const { threads } = job;
  const reader = await OnnxReader.open(graphPath(folder, z.enum(ONNX_TYPES).parse(job.dtype)), { threads, maxTokens });
  try {
    const found = await ask(reader, questions, (share) => tell(0.7 * share));
    const proof = compareAnswers(expected, found, job.dtype, RUNTIME);
    const own = { by: proof.by, answers: found, questions, lossOf: lossWith(reader) };
    const other = await askTransformersJs(folder, files, own, { threads, exact: isExact(job) });
    return { ...proof, readers: other ? [other] : [] };
  } finally {
    await reader.release();
  }
}

/** With bf16 llama.cpp rounds what it multiplies as well: its greedy text may turn elsewhere. */
const isExact = ({ dtype }: ExportJob): boolean => dtype === 'f32' || dtype === 'f16';

async function listFiles(folder: string): Promise<Pick<Export, 'bytes' | 'files'>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
  const files = await Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
  return { files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}
