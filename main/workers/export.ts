/** @file Child process: writes a run's adapter, or the model merged with it, and proves the files against the run before they get their name. */
import { mkdir, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { z } from 'zod';
import { bytes as inWords } from '../contract/bytes.ts';
import type { Export, Proof } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { FLOATS, NEXT, ONNX_TYPES } from '../contract/export-types.ts';
import { graphPath } from '../engine/export/folder.ts';
import { OnnxReader, RUNTIME } from '../engine/export/read.ts';
import type { TunedModel } from '../engine/index.ts';
import { modelCard, type CardFacts } from '../exports/card.ts';
import { compareAnswers } from '../exports/proof.ts';
import type { ModelFiles } from '../formats/model.ts';
import { runChild } from './child.ts';
import { loadModel, withAdapter, type LoadedModel } from './load.ts';
import {
  ask,
  askFiles,
  askLlamaCpp,
  askTransformersJs,
  lossWith,
  questionsOf,
  type Answers,
  type Questions,
} from './prove.ts';
import { ggufName, translated, weightBytes, writeFiles } from './writers.ts';

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
  /** Rows whose held-out part is replayed as the proof. */
  readonly rows: string;
  readonly threads: number;
  readonly card: CardFacts;
}
export interface ExportEvent {
  readonly stage: string;
  readonly progress: number;
}
export type ExportResult = Pick<Export, 'bytes' | 'files'> & { readonly proof: Proof };

/** Beside the model's own bytes: tokenizer, card, proof. */
const ROOM = 50e6;

type Say = (stage: string, progress: number) => void;

runChild<ExportJob, ExportEvent, ExportResult>(async (job, { emit, signal }) => {
  const say: Say = (stage, progress) => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The export was cancelled.', 'Nothing was kept.');
    emit({ stage, progress });
  };
  const staging = join(dirname(job.folder), `.${job.card.title.replaceAll(/\W+/g, '-')}-${process.pid}.exporting`);
  await mkdir(staging, { recursive: true });
  try {
    say('Loading the model', 0);
    const loaded = await loadModel(job.model, job.threads, job.under);
    let proof: Proof;
    try {
      // A base model that has learned text alone has no form of conversation, and none is claimed for it.
      const chatTemplate = loaded.files.chatTemplate ?? (job.answers ? loaded.template : null);
      const files = { ...loaded.files, chatTemplate };
      const ollama = job.format === 'ollama' ? translated(files) : null;
      await checkRoom(job, files);
      const tuned = (await withAdapter(loaded.base, job.adapter)) as TunedModel;
      const questions = await questionsOf(job.rows, { tokenizer: files.tokenizer, template: loaded.template });
      const expected = await ask(tuned, questions, (share) => say('Asking the run', 0.05 + 0.3 * share));
      await writeFiles(
        job,
        staging,
        { files, tuned, ollama, ownTemplate: loaded.files.chatTemplate !== null },
        (share) => say('Writing the files', 0.35 + 0.2 * share),
      );
      proof = await prove(job, staging, loaded, files, questions, expected, (share) =>
        say('Asking the files', 0.55 + 0.4 * share),
      );
      if (ollama) proof = { ...proof, template: { conversations: ollama.conversations, equal: ollama.conversations } };
    } finally {
      await loaded.close();
    }
    if (proof.verdict === 'different' || proof.readers.some(({ agrees }) => !agrees)) throw disproven(job, proof);
    say('Finishing', 0.97);
    await writeFile(join(staging, 'README.md'), modelCard(job.card, job.format, job.dtype, proof));
    await writeFile(join(staging, 'fettle-proof.json'), `${JSON.stringify(proof, null, 2)}\n`);
    const result = { ...(await listFiles(staging)), proof };
    await rename(staging, job.folder);
    return result;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
});

/** @throws DISK_FULL before anything is written */
async function checkRoom(job: ExportJob, files: Pick<ModelFiles, 'weights' | 'config'>): Promise<void> {
  if (job.format === 'adapter') return;
  const needed = ROOM + weightBytes(job, files);
  const { bavail, bsize } = await statfs(dirname(job.folder));
  if (bavail * bsize < needed)
    throw new FettleError(
      'DISK_FULL',
      `The export needs ${inWords(needed)}, and ${inWords(bavail * bsize)} are free there.`,
      'Free some space, choose another folder, or fewer bits.',
    );
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

/** The files read again as another program would, and by another program where one is installed. */
async function prove(
  job: ExportJob,
  folder: string,
  { base }: LoadedModel,
  files: ModelFiles,
  questions: Questions,
  expected: Answers,
  tell: (share: number) => void,
): Promise<Proof> {
  const asOne = job.format === 'adapter' && !job.alone && job.under.length > 0;
  if (job.format === 'adapter' && !asOne)
    return compareAnswers(expected, await ask(await withAdapter(base, folder), questions, tell), job.dtype);
  // One copy of the weights in memory at a time.
  await base.release();
  const asked = { folder, files, questions, expected };
  if (job.format === 'onnx') return proveOnnx(job, asked, { maxTokens: base.spec.maxPositions, tell });
  const gguf = job.format === 'gguf' || job.format === 'ollama' ? join(folder, ggufName(job)) : null;
  const where = asOne ? { model: job.model, adapter: folder } : { model: gguf ?? folder, adapter: null };
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

const isExact = ({ dtype }: ExportJob): boolean => FLOATS.some((type) => type === dtype);

async function listFiles(folder: string): Promise<Pick<Export, 'bytes' | 'files'>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
  const files = await Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
  return { files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}
