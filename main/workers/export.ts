/** @file Child process: writes a run's adapter, or the model merged with it, and proves the files against the run before they get their name. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { Handed } from '../contract/clients.ts';
import type { Export, Proof } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { FLOATS, NEXT } from '../contract/export-types.ts';
import { adapterIn, mergedWeights } from '../engine/model/merge.ts';
import { modelCard, recipeFile, type CardFacts } from '../exports/card.ts';
import { compareAnswers } from '../exports/proof.ts';
import { checkRoom, checkUntaken, makeStaging } from '../exports/room.ts';
import { readAdapterGguf, writeAdapterGguf } from '../formats/gguf/adapter.ts';
import { planModelGguf, storedBytes, writeModelGguf } from '../formats/gguf/export.ts';
import { writeModelFolder, writeTokenizer } from '../formats/huggingface/write.ts';
import type { ModelFiles } from '../formats/model.ts';
import { modelfile, ollamaTemplate, type OllamaTemplate } from '../formats/ollama.ts';
import { concatenateAdapters, readAdapter, writeAdapter, PEFT_PREFIX, type LoraSettings } from '../formats/peft.ts';
import type { TensorToWrite } from '../formats/safetensors.ts';
import { runChild } from './child.ts';
import { llamaCppInstalled } from './llama-cpp.ts';
import { loadModel, openStages, withAdapter, withOpened, type OpenedModel } from './load.ts';
import {
  ask,
  askFiles,
  askLlamaCpp,
  generalQuestions,
  lossWith,
  questionsOf,
  type Answers,
  type Questions,
} from './prove.ts';

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
      await makeStaging(staging);
      // Before a model lies in memory: writing takes one tensor at a time.
      const lora = await write(
        job,
        staging,
        { files, ollama, ownTemplate: opened.files.chatTemplate !== null },
        (share) => say('Writing the files', 0.2 * share),
      );
      proof = await prove(job, staging, { ...opened, files }, say);
      if (ollama) proof = { ...proof, template: { conversations: ollama.conversations, equal: ollama.conversations } };
      const { name, hash } = job.card.base;
      const [only, ...others] = await weightHashes(job);
      handed = {
        base: { name, hash: only && others.length === 0 ? only.hash : hash },
        rank: lora.rank,
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
    await json('recipe.json', recipeFile(job.card));
    await json('proof.json', proof);
    const result = { ...(await listFiles(staging)), proof, handed };
    // Nothing is overwritten, not even what came there meanwhile.
    checkUntaken(job.folder);
    await rename(staging, job.folder);
    return result;
  } catch (error) {
    if (existsSync(staging)) await rm(staging, { recursive: true });
    throw error;
  }
});

const namesOf = ({ files }: Pick<Export, 'files'>): { files: string[] } => ({ files: files.map(({ name }) => name) });

function translated({ chatTemplate, tokenizer }: Pick<ModelFiles, 'chatTemplate' | 'tokenizer'>): OllamaTemplate {
  if (chatTemplate)
    return ollamaTemplate(chatTemplate, tokenizer.bosId === null ? null : tokenizer.piece(tokenizer.bosId));
  throw new FettleError(
    'EXPORT_UNSUPPORTED',
    'Ollama wants the form of a conversation, and this model has none: it has read text alone.',
    'Export as GGUF, or tune it with examples first.',
  );
}

/**
 * What the format cannot hold, and what has no place on the disk, is refused before anything is done.
 * @throws EXPORT_UNSUPPORTED, CHECKPOINT_NOT_FOUND, TARGET_EXISTS, FILE_UNREADABLE, DISK_FULL
 */
async function checkTarget(job: ExportJob, files: ModelFiles): Promise<void> {
  for (const folder of [...job.under, job.adapter])
    if (!existsSync(folder))
      throw new FettleError(
        'CHECKPOINT_NOT_FOUND',
        `The checkpoint ${basename(folder)} is no longer there.`,
        'Choose another checkpoint of the run.',
      );
  const { weights, config } = files;
  // Of an adapter the base as GGUF is needed to prove it with llama.cpp.
  const asGguf = job.format === 'gguf-adapter' ? 'f32' : job.dtype;
  if (job.format === 'gguf' || job.format === 'ollama' || job.format === 'gguf-adapter')
    planModelGguf(files, asGguf, { name: job.card.title, license: null });
  const whole =
    job.format === 'gguf-adapter' ? needsBase(job) && (await llamaCppInstalled()) : job.format !== 'adapter';
  const model = whole ? storedBytes(weights, config, asGguf) : 0;
  await checkRoom(job.folder, ROOM + model + (job.withBase ? storedBytes(weights, config, 'f32') : 0));
}

/** A base that lies here as GGUF is what the adapter will be put on. */
const needsBase = (job: ExportJob): boolean => !job.model.endsWith('.gguf') || (job.alone && job.under.length > 0);

/** SHA-256 of the base's files of weights, so that whoever gets an adapter can tell whether theirs is the same. */
async function weightHashes({ format, model }: ExportJob): Promise<{ name: string; hash: string }[]> {
  if (format !== 'adapter' && format !== 'gguf-adapter') return [];
  const folder = (await stat(model)).isDirectory();
  const names = folder ? (await readdir(model)).filter((name) => name.endsWith('.safetensors')).sort() : [''];
  const hashes: { name: string; hash: string }[] = [];
  for (const name of names) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(model, name)), hash);
    hashes.push({ name: name || basename(model), hash: hash.digest('hex') });
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
  const questions = await (job.rows === null
    ? generalQuestions(text, files.chatTemplate !== null)
    : questionsOf(job.rows, text));
  const tell = (share: number): void => say('Asking the files', 0.55 + 0.4 * share);
  const asOne = !job.alone && job.under.length > 0;
  const gguf = job.format === 'gguf' || job.format === 'ollama' ? join(folder, ggufName(job)) : null;
  say('Loading the model', 0.2);
  const loaded = await loadModel(job.model, job.threads, job.under);
  let expected: Answers;
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
    const own = { answers: found, questions, lossOf: lossWith(read.base) };
    const exact = FLOATS.some((type) => type === job.dtype);
    const other = await askLlamaCpp(gguf, files, own, { threads: job.threads, exact });
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
    const own = { answers: found, questions, lossOf: lossWith(tuned) };
    const exact = needsBase(job) || ['F32', 'F16', 'BF16'].includes(job.card.base.storage);
    const base = needsBase(job) ? made : job.model;
    const other = await askLlamaCpp(base, read.files, own, { threads: job.threads, exact, lora: path });
    return { ...proof, readers: other ? [other] : [] };
  } finally {
    await read.close();
    await rm(made, { force: true });
  }
}

const ggufName = ({ card, dtype, format }: ExportJob): string =>
  `${card.title.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-')}${format === 'gguf-adapter' ? '-adapter' : ''}-${dtype}.gguf`;

interface ToWrite {
  readonly files: ModelFiles;
  readonly ollama: OllamaTemplate | null;
  /** The base brings a chat template. */
  readonly ownTemplate: boolean;
}

/** @returns the adapter's settings, of all stages where they are written as one. */
async function write(
  job: ExportJob,
  folder: string,
  { files, ollama, ownTemplate }: ToWrite,
  tell: (share: number) => void,
): Promise<LoraSettings> {
  tell(0);
  if (job.format === 'adapter' || job.format === 'gguf-adapter')
    return writeAdapters(job, folder, { files, ollama, ownTemplate });
  const adapter = await readAdapter(job.adapter);
  try {
    const merged = { ...files, weights: mergedWeights(adapterIn(adapter), files.weights) };
    if (job.format === 'safetensors')
      await writeModelFolder(folder, merged, { dtype: z.enum(FLOATS).parse(job.dtype) });
    else {
      const facts = { name: job.card.title, license: job.card.base.license };
      await writeModelGguf(join(folder, ggufName(job)), merged, job.dtype, facts, tell);
      if (ollama) await writeFile(join(folder, 'Modelfile'), modelfile(ggufName(job), ollama, files));
    }
    return adapter.lora;
  } finally {
    await adapter.close();
  }
}

/** The adapter of the run, or those of all its stages as one. */
async function writeAdapters(job: ExportJob, folder: string, { files, ownTemplate }: ToWrite): Promise<LoraSettings> {
  const asOne = !job.alone && job.under.length > 0;
  const adapters = await Promise.all([...(asOne ? job.under : []), job.adapter].map((path) => readAdapter(path)));
  const [only] = adapters;
  try {
    const { lora, tensors } = asOne
      ? await concatenateAdapters(adapters)
      : {
          lora: only!.lora,
          tensors: only!.weights.names.map((name): TensorToWrite => ({
            name: name.slice(PEFT_PREFIX.length),
            shape: only!.weights.info(name).shape,
            data: () => only!.weights.read(name),
          })),
        };
    if (job.format === 'gguf-adapter') {
      const type = z.enum(['f32', 'f16']).parse(job.dtype);
      await writeAdapterGguf(
        join(folder, ggufName(job)),
        { lora, tensors },
        { config: files.config, name: job.card.title, type },
      );
      return lora;
    }
    await writeAdapter(folder, tensors, { ...lora, baseModel: job.card.base.name });
    // Other programs take the base's own template from the base; one that it has not must travel with the adapter.
    if (files.chatTemplate && !ownTemplate && !job.withBase) await writeTokenizer(folder, files);
    if (job.withBase) await writeBase(job, folder, files, asOne ? [] : job.under);
    return lora;
  } finally {
    for (const adapter of adapters) await adapter.close();
  }
}

/** What the adapter stands on, its weights as they were widened for training. */
async function writeBase(
  job: ExportJob,
  folder: string,
  { chatTemplate }: ModelFiles,
  under: readonly string[],
): Promise<void> {
  const base = await openStages(job.model, under);
  try {
    await writeModelFolder(join(folder, 'base'), { ...base.files, chatTemplate }, { dtype: 'f32' });
  } finally {
    await base.close();
  }
}

async function listFiles(folder: string): Promise<Pick<Export, 'bytes' | 'files'>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort();
  const files = await Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
  return { files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}
