/** @file Proves an export: its files are read from the disk again, and asked what the run is asked. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Proof } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { ALLOWED, NEXT, ONNX_TYPES, textInWords } from '../contract/export-types.ts';
import { graphPath } from '../engine/export/folder.ts';
import { OnnxReader, RUNTIME } from '../engine/export/read.ts';
import { readSpec } from '../engine/index.ts';
import { compareAnswers } from '../exports/proof.ts';
import { proveText } from '../exports/text-proof.ts';
import { readAdapterGguf } from '../formats/gguf/adapter.ts';
import { writeModelGguf } from '../formats/gguf/export.ts';
import { endsByItsText } from '../formats/gguf/write-tokenizer.ts';
import { readTextFiles } from '../formats/huggingface/read.ts';
import type { ModelFiles, TextFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import type { ExportJob } from './export.ts';
import { llamaCppInstalled } from './llama-cpp.ts';
import { loadModel, withAdapter, withOpened, type LoadedModel, type OpenedModel } from './load.ts';
import {
  ask,
  asksSomething,
  askLlamaCpp,
  askTransformersJs,
  generalQuestions,
  LLAMA_CPP_CHANGE,
  questionsOf,
  type Answers,
  type Questions,
} from './prove.ts';
import { answersOfRun, type RunAnswers } from './run-answers.ts';
import { ggufName, needsBase } from './writers.ts';

/** Told what is done and how far it is, 0 to 1; throws to give up. */
export type Say = (stage: string, progress: number) => void;

/**
 * Texts through the files' own tokenizer, template and stops; then the run is asked, and the files, read again as another
 * program would, and by another program where one is installed.
 */
export async function prove(job: ExportJob, folder: string, opened: OpenedModel, say: Say): Promise<Proof> {
  const questions = await questionsFor(job, opened);
  const read = await textOf(job, folder, opened.files);
  const asked = [...questions.prompts, ...questions.rows.map(({ ids }) => ids)];
  const text = read && proveText(opened.files, read.files, asked, read.stops);
  const proof = await proveAnswers(job, folder, opened, questions, say);
  return { ...proof, text, verdict: text && text.faults.length > 0 ? 'different' : proof.verdict };
}

/** What the files themselves say of text; null of those that hold weights alone. */
async function textOf(
  job: ExportJob,
  folder: string,
  run: TextFiles,
): Promise<{ files: TextFiles; stops: boolean } | null> {
  if (job.format === 'gguf' || job.format === 'ollama') {
    const files = await openModel(join(folder, ggufName(job)));
    await files.close();
    // Where a model has more ends than the file can name, its readers know them by their text.
    const known = run.stopIds.filter((id) => endsByItsText(run.tokenizer.piece(id)));
    return { files: { ...files, stopIds: [...new Set([...files.stopIds, ...known])] }, stops: true };
  }
  if (job.format === 'adapter' && !job.withBase)
    return existsSync(join(folder, 'tokenizer.json')) ? { files: await readTextFiles(folder), stops: false } : null;
  if (job.format === 'gguf-adapter') return null;
  return { files: await readTextFiles(job.format === 'adapter' ? join(folder, 'base') : folder), stops: true };
}

async function questionsFor(job: ExportJob, { files, template }: OpenedModel): Promise<Questions> {
  const text = { tokenizer: files.tokenizer, template };
  const span = { maxLength: job.maxLength, positions: readSpec(files.config).maxPositions };
  const ownQuestions = job.rows === null ? null : await questionsOf(job.rows, text, span);
  // Held-out rows of which none says anything prove nothing either.
  return ownQuestions && asksSomething(ownQuestions)
    ? ownQuestions
    : generalQuestions(text, files.chatTemplate !== null, span);
}

/** What the run says, held against what the files say, read as each format is. */
async function proveAnswers(
  job: ExportJob,
  folder: string,
  opened: OpenedModel,
  questions: Questions,
  say: Say,
): Promise<Proof> {
  const tell = (share: number): void => say('Asking the files', 0.55 + 0.4 * share);
  const load = (): Promise<LoadedModel> =>
    loadModel(job.model, job.threads, job.under, () => say('Loading the model', 0.2));
  const askRun = async ({ base }: LoadedModel): Promise<Answers> =>
    ask(await withAdapter(base, job.adapter), questions, (share) => say('Asking the run', 0.25 + 0.3 * share));
  const told = (proof: Proof, { askedAt: at, kept }: RunAnswers): Proof => ({ ...proof, asked: { at, kept } });
  const asOne = !job.alone && job.under.length > 0;
  if (job.format === 'adapter' && !asOne && !job.withBase) {
    // Both stand on the same base, which is loaded once.
    const loaded = await load();
    try {
      const run = await answersOfRun(job, questions, () => askRun(loaded));
      const found = await ask(await withAdapter(loaded.base, folder), questions, tell);
      return told(compareAnswers(run, found, job.dtype), run);
    } finally {
      await loaded.close();
    }
  }
  const run = await answersOfRun(job, questions, async () => {
    const loaded = await load();
    try {
      return await askRun(loaded);
    } finally {
      // One copy of the weights in memory at a time.
      await loaded.close();
    }
  });
  return told(await proveFiles(job, folder, opened, { questions, expected: run }, tell), run);
}

/** What is asked of the files, and what the run has said. */
interface Wanted {
  readonly questions: Questions;
  readonly expected: Answers;
}

async function proveFiles(
  job: ExportJob,
  folder: string,
  opened: OpenedModel,
  wanted: Wanted,
  tell: (share: number) => void,
): Promise<Proof> {
  if (job.format === 'gguf-adapter') return proveAdapterGguf(job, folder, opened, wanted, tell);
  if (job.format === 'onnx') return proveOnnx(job, folder, opened.files, wanted, tell);
  const { questions, expected } = wanted;
  const gguf = job.format === 'gguf' || job.format === 'ollama' ? join(folder, ggufName(job)) : null;
  const where =
    job.format === 'adapter'
      ? { model: job.withBase ? join(folder, 'base') : job.model, adapter: folder }
      : { model: gguf ?? folder, adapter: null };
  const read = await loadModel(where.model, job.threads, [], () => tell(0));
  try {
    const written = await withAdapter(read.base, where.adapter);
    const found = await ask(written, questions, (share) => tell((gguf ? 0.7 : 1) * share));
    const proof = compareAnswers(expected, found, job.dtype);
    if (!gguf) return proof;
    const own = { by: proof.by, answers: found, questions, run: expected };
    return withReader(proof, await askLlamaCpp(gguf, opened.files, own, othersFor(job, tell)));
  } finally {
    await read.close();
  }
}

const othersFor = (
  job: ExportJob,
  tell: (share: number) => void,
): { threads: number; exact: boolean; allowed: number; tell: (share: number) => void } => ({
  threads: job.threads,
  exact: isExact(job),
  allowed: ALLOWED[job.dtype],
  tell: (share) => tell(0.7 + 0.3 * share),
});

/** What another program has found; what the type may change holds of its reading as well. */
const withReader = (proof: Proof, other: Proof['readers'][number] | null): Proof => ({
  ...proof,
  readers: other ? [other] : [],
  verdict: other?.likelihood && isFar(other.likelihood) ? 'different' : proof.verdict,
});

const isFar = ({ change, allowed }: NonNullable<Proof['likelihood']>): boolean => !(Math.abs(change) <= allowed);

/** An adapter's GGUF on the base: in Fettle, and in llama.cpp on the base's own GGUF, which is made for it where there is none. */
async function proveAdapterGguf(
  job: ExportJob,
  folder: string,
  { files }: OpenedModel,
  { questions, expected }: Wanted,
  tell: (share: number) => void,
): Promise<Proof> {
  const path = join(folder, ggufName(job));
  // All stages as one stand on the plain base, one stage alone on those before it.
  const read = await loadModel(job.model, job.threads, job.alone ? job.under : [], () => tell(0));
  const made = join(folder, 'base-for-the-proof.gguf');
  try {
    const tuned = await withOpened(read.base, await readAdapterGguf(path, files.config));
    const found = await ask(tuned, questions, (share) => tell(0.6 * share));
    const proof = compareAnswers(expected, found, job.dtype);
    if (!(await llamaCppInstalled())) return proof;
    if (needsBase(job)) {
      const facts = { name: job.card.base.name, license: null };
      await writeModelGguf(made, read.files, 'f32', facts, (share) => tell(0.6 + 0.1 * share));
    }
    tell(0.7);
    const own = { by: 'Fettle', answers: found, questions, run: expected };
    const base = needsBase(job) ? made : job.model;
    const exact = needsBase(job) || ['F32', 'F16'].includes(job.card.base.storage);
    // On a base of fewer bits it multiplies in eight.
    const allowed = exact ? ALLOWED[job.dtype] : LLAMA_CPP_CHANGE;
    const others = { ...othersFor(job, tell), exact, allowed, lora: path };
    return withReader(proof, await askLlamaCpp(base, read.files, own, others));
  } finally {
    await read.close();
    await rm(made, { force: true });
  }
}

/** Fettle reads no ONNX files itself: ONNX Runtime does, as any program that has it would, and transformers.js where it is installed. */
async function proveOnnx(
  job: ExportJob,
  folder: string,
  files: ModelFiles,
  { questions, expected }: Wanted,
  tell: (share: number) => void,
): Promise<Proof> {
  const { threads } = job;
  const maxTokens = readSpec(files.config).maxPositions;
  const reader = await OnnxReader.open(graphPath(folder, z.enum(ONNX_TYPES).parse(job.dtype)), { threads, maxTokens });
  try {
    const found = await ask(reader, questions, (share) => tell(0.7 * share));
    const proof = compareAnswers(expected, found, job.dtype, RUNTIME);
    const own = { by: proof.by, answers: found, questions, run: expected };
    return withReader(proof, await askTransformersJs(folder, files, own, othersFor(job, tell)));
  } finally {
    await reader.release();
  }
}

/** With bf16 llama.cpp rounds what it multiplies as well: its greedy text may turn elsewhere. */
const isExact = ({ dtype }: ExportJob): boolean => dtype === 'f32' || dtype === 'f16';

/** What is said of an export whose proof failed. */
export function disproven(job: ExportJob, proof: Proof): FettleError {
  const { tokensEqual, tokensCompared, readers, text } = proof;
  const other = readers.find(({ agrees }) => !agrees);
  const otherText = text !== null && text.faults.length > 0 ? textInWords(text) : undefined;
  const far = [proof, ...readers].map(({ likelihood }) => likelihood).find((each) => each !== null && isFar(each));
  const next = NEXT[job.dtype];
  const details = { proof };
  if (far && job.dtype !== 'f32' && !other && otherText === undefined)
    return new FettleError(
      'EXPORT_FAILED',
      `With ${job.dtype} the loss on unseen rows changes by ${(100 * far.change).toFixed(1)}%; ${(100 * far.allowed).toFixed(0)}% are allowed. This model bears so few bits badly.`,
      `Nothing was kept.${next ? ` Try ${next}.` : ''}`,
      { details },
    );
  return new FettleError(
    'EXPORT_FAILED',
    otherText !== undefined
      ? `${otherText}.`
      : other
        ? `${other.name} does not read the files as Fettle does: ${other.found}.`
        : `The exported files do not answer as the run does: ${tokensEqual} of ${tokensCompared} tokens are equal.`,
    'Nothing was kept. This is a fault in Fettle.',
    { details },
  );
}
