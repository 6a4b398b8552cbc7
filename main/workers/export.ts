/** @file Child process: writes a run's adapter, or the model merged with it, and proves the files against the run before they get their name. */
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Export } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { readRows } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { parameter, type LoraModel } from '../engine/index.ts';
import { adapterOf, mergedWeights } from '../engine/model/merge.ts';
import { modelCard, type CardFacts, type Proof } from '../exports/card.ts';
import { compareReplays, replay, type Replay } from '../exports/proof.ts';
import { writeModelFolder, writeTokenizer } from '../formats/huggingface/write.ts';
import type { ModelFiles } from '../formats/model.ts';
import { concatenateAdapters, readAdapter, writeAdapter } from '../formats/peft.ts';
import { runChild } from './child.ts';
import { loadModel, withAdapter } from './load.ts';

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

/** Replayed as the proof: so many held-out rows, their first tokens. */
const PROOF_ROWS = 3;
const PROOF_PROMPT_TOKENS = 64;
/** float32 exports must give the run's logits within this. */
const TOLERANCE = 1e-3;

runChild<ExportJob, ExportEvent, ExportResult>(async (job, { emit, signal }) => {
  const report = (stage: string, progress: number): void => emit({ stage, progress });
  const proceed = (stage: string, progress: number): void => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The export was cancelled.', 'Nothing was kept.');
    report(stage, progress);
  };
  const staging = join(dirname(job.folder), `.${job.card.title.replaceAll(/\W+/g, '-')}-${process.pid}.exporting`);
  await mkdir(staging, { recursive: true });
  try {
    proceed('Loading the model', 0);
    const { files, template, base, close } = await loadModel(job.model, job.threads, job.under);
    let expected: Replay[];
    let proof: Proof;
    try {
      const tuned = (await withAdapter(base, job.adapter)) as LoraModel;
      const prompts = await proofPrompts(job.rows, { tokenizer: files.tokenizer, template });
      proceed('Asking the run', 0.15);
      expected = await replay(tuned, prompts);
      proceed('Writing the files', 0.35);
      // A base model that has learned text alone has no form of conversation, and none is claimed for it.
      const chatTemplate = files.chatTemplate ?? (job.answers ? template : null);
      await write(job, staging, { ...files, chatTemplate }, tuned);
      // Other programs take the base's own template from the base; one that it has not must travel with the adapter.
      if (job.format === 'adapter' && files.chatTemplate === null && chatTemplate)
        await writeTokenizer(staging, { ...files, chatTemplate });
      proceed('Proving the files', 0.65);
      const asOne = job.format === 'adapter' && !job.alone && job.under.length > 0;
      if (job.format === 'adapter' && !asOne)
        proof = compareReplays(expected, await replay(await withAdapter(base, staging), prompts));
      else {
        // One copy of the weights in memory at a time.
        await base.release();
        const folder = asOne ? { model: job.model, adapter: staging } : { model: staging, adapter: null };
        proof = compareReplays(expected, await replayFrom(folder, job.threads, prompts));
      }
    } finally {
      await close();
    }
    if (job.dtype === 'f32' && (proof.verdict === 'different' || proof.largestLogitDifference > TOLERANCE))
      throw new FettleError(
        'EXPORT_FAILED',
        `The exported files do not answer as the run does: ${proof.tokensEqual} of ${proof.tokensCompared} tokens are equal.`,
        'Nothing was kept. This is a fault in Fettle.',
        { details: { proof } },
      );
    proceed('Finishing', 0.95);
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

async function write(job: ExportJob, folder: string, files: ModelFiles, tuned: LoraModel): Promise<void> {
  if (job.format === 'safetensors')
    return writeModelFolder(
      folder,
      { ...files, weights: mergedWeights(adapterOf(tuned), files.weights) },
      { dtype: job.dtype },
    );
  if (!job.alone && job.under.length > 0) {
    const adapters = await Promise.all([...job.under, job.adapter].map((path) => readAdapter(path)));
    const { lora, tensors } = await concatenateAdapters(adapters);
    for (const adapter of adapters) await adapter.close();
    return writeAdapter(folder, tensors, { ...lora, baseModel: job.card.base.name });
  }
  const { entries } = tuned.parameters;
  await writeAdapter(
    folder,
    entries.map(({ name, shape }) => ({ name, shape, data: parameter(tuned.parameters, name) })),
    { ...tuned.options, baseModel: job.card.base.name },
  );
}

/** The first tokens of the first held-out rows, as the model sees them. */
async function proofPrompts(rows: string, text: TextModel): Promise<number[][]> {
  const prompts: number[][] = [];
  for await (const row of readRows(rows)) {
    if (row.split !== 'held-out') continue;
    const { ids, loss } = exampleOf(row, text);
    // A conversation is asked up to its first answer; a document is gone on from.
    const answer = row.text === undefined ? loss.indexOf(1) : PROOF_PROMPT_TOKENS;
    prompts.push([...ids.subarray(0, Math.max(1, Math.min(answer, PROOF_PROMPT_TOKENS * 4)))]);
    if (prompts.length === PROOF_ROWS) break;
  }
  return prompts;
}

/** Asks what another program would load: the folder, or the plain base with the adapter on it. */
async function replayFrom(
  { model, adapter }: { readonly model: string; readonly adapter: string | null },
  threads: number,
  prompts: readonly (readonly number[])[],
): Promise<Replay[]> {
  const { base, close } = await loadModel(model, threads);
  try {
    return await replay(await withAdapter(base, adapter), prompts);
  } finally {
    await close();
  }
}

async function listFiles(folder: string): Promise<Pick<Export, 'bytes' | 'files'>> {
  const names = (await readdir(folder)).sort();
  const files = await Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
  return { files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}
