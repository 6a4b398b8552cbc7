/**
 * @file `npm run bench:rows`: rows a second on real data: SmolLM2-135M, LoRA r=16 on all linears, loss on the answers of
 * 400 rows of gsm8k, in Fettle (each precision) and in TRL's SFTTrainer, at its defaults and with Fettle's settings, in
 * turns. All sides take the same batches of the same tokens in the same order, which is checked: by the labelled tokens
 * of each step. TRL at its defaults keeps its own precision, checkpointing, rate and schedule; matched, what differs is the
 * program alone (fp32, the same rate, clipping and no decay), so that the losses on other rows must agree within 1%.
 * TRL lives in test/bench/.venv: `python3 -m venv test/bench/.venv && test/bench/.venv/bin/pip install -r test/bench/requirements.txt`.
 * Prints a table and, as the last line, JSON. Options: --rows N (400 to train on; 40 more are held out), --batch N (8),
 * --steps N (49 that are timed, after one that is not: all 400 rows), --rounds N (3), --threads N,
 * --sides LIST (fettle:fp32,fettle:int8,trl:defaults,trl:matched).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isQuantised, Recipe, type Precision } from '../../main/contract/recipe.ts';
import { loadBase, measureRounding } from '../../main/engine/index.ts';
import { assembleBatch } from '../../main/engine/train/batches.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import { openModel } from '../../main/formats/open.ts';
import { found } from '../support/needs.ts';
import { conversations } from '../support/smollm2.ts';
import { asFettleProcess, inWords, othersEnv, ratios, readOptions, spread, stop } from './options.ts';

asFettleProcess();
const options = readOptions({
  rows: 400,
  batch: 8,
  steps: 49,
  rounds: 3,
  threads: cpus().length,
  sides: 'fettle:fp32,fettle:int8,trl:defaults,trl:matched',
});
const { batch, steps, threads } = options;
const python = join(import.meta.dirname, '.venv/bin/python');
const sides = options.sides.split(',').map((text) => text.split(':') as ['fettle' | 'trl', string]);
if (!found.starter || !found.gsm8k || (sides.some(([program]) => program === 'trl') && !existsSync(python)))
  stop('This benchmark needs the starter model, gsm8k (../shared/data), and TRL (see the head of this file).');
if ((steps + 1) * batch > options.rows)
  stop(`${options.rows} rows are not enough for ${steps + 1} steps of ${batch}: each row is taken once.`);
const HELD_OUT = 40;
/** How far apart the losses of two programs with the same settings may be, as a share. */
const AGREE = 0.01;
const recipe = Recipe.parse({
  strategy: 'instruct',
  maxLength: 1024,
  batchSize: batch,
  rank: 16,
  alpha: 32,
  learningRate: 2e-4,
  weightDecay: 0,
  maxGradNorm: 1,
  seed: 1,
});

interface Outcome {
  readonly seconds: number;
  readonly rows: number;
  readonly heldOutLoss: number;
  /** Labelled tokens of each step. */
  readonly labelled: readonly number[];
}

const files = await openModel(found.starter);
const form = { tokenizer: files.tokenizer, template: files.chatTemplate! };
const examples = (await conversations(found.gsm8k, options.rows + HELD_OUT, ['question', 'answer'])).map((row) =>
  chatExample(row, form),
);
const [training, heldOut] = [examples.slice(0, options.rows), examples.slice(options.rows)];

async function fettle(precision: Precision): Promise<Outcome> {
  const rounding = isQuantised(precision)
    ? await measureRounding(files.config, files.weights, { threads, precision }, training)
    : undefined;
  const base = await loadBase(files.config, files.weights, { threads, precision, rounding });
  const model = base.withLora(recipe);
  const optimiser = model.optimizer(recipe);
  const labelled: number[] = [];
  let began = 0;
  for (let step = 0; step <= steps; step++) {
    const rows = training.slice(step * batch, (step + 1) * batch);
    const made = assembleBatch(
      rows.map((row) => [row]),
      recipe.maxLength,
    );
    labelled.push(made.labelled);
    await optimiser.zero();
    await model.accumulate(made, 1 / made.labelled);
    await optimiser.clip(recipe.maxGradNorm);
    await optimiser.step(recipe.learningRate);
    // As on the other side, the first step is not counted.
    if (step === 0) began = performance.now();
  }
  const seconds = (performance.now() - began) / 1000;
  const { loss } = (await evaluate(model, heldOut, recipe))!;
  await base.release();
  return { seconds, rows: steps * batch, heldOutLoss: loss, labelled };
}

const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-rows-'));
try {
  // The trainer refuses what came from a GGUF file, though its weights are unpacked: the same in 32 bits.
  const model = join(folder, 'model');
  if (sides.some(([program]) => program === 'trl')) await writeModelFolder(model, files, { dtype: 'f32' });
  const rowsFile = join(folder, 'rows.jsonl');
  writeFileSync(
    rowsFile,
    examples.map(({ ids, loss }) => JSON.stringify({ input_ids: [...ids], completion_mask: [...loss] })).join('\n') +
      '\n',
  );
  const { learningRate, maxGradNorm, rank, alpha, maxLength } = recipe;
  const settings = { steps, batch, threads, learningRate, maxGradNorm, rank, alpha, maxLength, heldOut: HELD_OUT };
  const trl = (kind: string): Outcome =>
    JSON.parse(
      execFileSync(
        python,
        [join(import.meta.dirname, 'trl_rows.py'), model, rowsFile, kind, JSON.stringify(settings)],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: othersEnv() },
      )
        .trim()
        .split('\n')
        .at(-1)!,
    ) as Outcome;
  const entrants = sides.map(([program, how]) => ({ name: `${program} ${how}`, program, how, all: [] as Outcome[] }));
  for (let round = 0; round < options.rounds; round++)
    for (const { program, how, all } of entrants)
      all.push(program === 'trl' ? trl(how) : await fettle(how as Precision));

  const same = new Set(entrants.flatMap(({ all }) => all.map(({ labelled }) => labelled.join())));
  if (same.size > 1) stop(`The sides did not train on the same batches: ${[...same].join(' | ')}`);
  const perSecond = (all: readonly Outcome[]): number[] => all.map(({ rows, seconds }) => rows / seconds);
  const references = entrants.filter(({ program }) => program === 'trl');
  const results = entrants.map(({ name, program, all }) => ({
    name,
    rowsPerSecond: spread(perSecond(all)),
    heldOutLoss: spread(all.map(({ heldOutLoss }) => heldOutLoss)),
    against: references
      .filter((other) => other.name !== name && program === 'fettle')
      .map((other) => ({
        name: other.name,
        times: ratios(perSecond(all), perSecond(other.all)),
        lossApart: all[0]!.heldOutLoss / other.all[0]!.heldOutLoss - 1,
      })),
  }));
  const labelledTokens = entrants[0]!.all[0]!.labelled.reduce((a, b) => a + b, 0);
  console.log(
    `${options.rows} rows, ${steps + 1} steps of ${batch} (${steps} timed) with ${labelledTokens} labelled tokens, ${options.rounds} rounds\n`,
  );
  for (const { name, rowsPerSecond, heldOutLoss, against } of results) {
    console.log(
      `  ${name.padEnd(14)} ${inWords(rowsPerSecond).padStart(22)} rows/s  held-out loss ${heldOutLoss.median.toFixed(4)}`,
    );
    for (const { name: other, times, lossApart } of against) {
      const told = `${(100 * lossApart).toFixed(2)}% apart in loss`;
      const verdict = other === 'trl matched' ? `, ${Math.abs(lossApart) <= AGREE ? 'within' : 'NOT within'} 1%` : '';
      console.log(`  ${''.padEnd(16)} ${inWords(times)} times ${other}, ${told}${verdict}`);
    }
  }
  console.log(
    JSON.stringify({
      benchmark: 'rows',
      cpu: cpus()[0]?.model ?? 'unknown',
      settings: options,
      labelledTokens,
      results,
    }),
  );
  await files.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
