/** @file One short run in the real training process, as the host would start it, for what only that process can say: its memory and its times. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Recipe } from '../../main/contract/recipe.ts';
import type { TrainEvent } from '../../main/contract/training.ts';
import { HELD_OUT, INDEX_FILE, INDEX_RECORD, ROWS_FILE, type Content } from '../../main/datasets/rows.ts';
import { createProcessHost } from '../../main/workers/process-host.ts';
import type { TrainJob, TrainOutcome } from '../../main/workers/train.ts';

export interface WorkerRun {
  readonly peakBytes: number;
  /** Seconds from the start of the process until each event. */
  readonly events: readonly { readonly seconds: number; readonly event: TrainEvent }[];
}

/** Rows of a dataset version: rows.jsonl and its index; the last `heldOut` of them are held out. */
async function writeRows(folder: string, rows: readonly Content[], heldOut: number): Promise<string> {
  const lines = rows.map((row) => Buffer.from(`${JSON.stringify(row)}\n`));
  const index = Buffer.alloc(INDEX_RECORD * lines.length);
  let at = 0;
  for (const [i, line] of lines.entries()) {
    index.writeUIntLE(at, INDEX_RECORD * i, 6);
    index.writeUInt16LE(i < lines.length - heldOut ? 0 : HELD_OUT, INDEX_RECORD * i + 6);
    at += line.length;
  }
  await writeFile(join(folder, ROWS_FILE), Buffer.concat(lines));
  await writeFile(join(folder, INDEX_FILE), index);
  return join(folder, ROWS_FILE);
}

/** Texts of about as many tokens as a row of the recipe has: `tokens` a character or a word, by the model's tokenizer. */
export function texts(count: number, length: number, per: 'character' | 'word'): Content[] {
  const words = 'the wheel turns and a small bell rings when rain has come over hill or town again'.split(' ');
  return Array.from({ length: count }, (_, row) => {
    const all = Array.from({ length }, (_, i) => words[(i * (row + 1) + row) % words.length]!);
    const text = all.join(' ');
    return { source: 'made', text: per === 'word' ? text : text.slice(0, length) };
  });
}

const silent = (): void => undefined;

/**
 * @param folder of the run; made where it is missing.
 * @param model what openModel takes.
 */
export async function trainInWorker(
  folder: string,
  model: string,
  set: Partial<Recipe>,
  { rows, threads = 2 }: { readonly rows: readonly Content[]; readonly threads?: number },
): Promise<WorkerRun> {
  await mkdir(folder, { recursive: true });
  const recipe = Recipe.parse({
    strategy: 'non-instruct',
    lossOn: 'all',
    evalEvery: 0,
    saveEvery: 0,
    ...set,
  });
  const job: TrainJob = {
    run: 'measured-1',
    folder,
    model,
    // Of this run alone: what it takes to make it is measured too.
    prepared: { folder: join(folder, 'prepared'), name: 'measured', hash: 'measured' },
    modelName: 'measured',
    under: [],
    held: [],
    rows: await writeRows(folder, rows, 1),
    recipe,
    device: 'cpu',
    threads,
    resume: false,
    continued: false,
  };
  const host = createProcessHost({ log: { info: silent, warn: silent, error: silent } });
  const events: { seconds: number; event: TrainEvent }[] = [];
  const start = performance.now();
  const worker = host.run<TrainEvent, TrainOutcome>('train', job, (event) =>
    events.push({ seconds: (performance.now() - start) / 1000, event }),
  );
  const outcome = await worker.result;
  if (outcome.reason === 'paused') throw new Error('a run that nobody asked to pause has paused');
  return { peakBytes: outcome.peakMemoryBytes, events };
}
