/**
 * @file `npm run bench:rows`: rows a second on real data: SmolLM2-135M, LoRA r=16 on all linears, loss on gsm8k's answers, in
 * Fettle (each precision) and in TRL's SFTTrainer at its defaults and with Fettle's settings, on the same tokens, in turns.
 * TRL lives in test/bench/.venv: `python3 -m venv test/bench/.venv && test/bench/.venv/bin/pip install -r test/bench/requirements.txt`.
 * Prints a table and, as the last line, JSON. Options: --steps N (10), --batch N (8), --rounds N (2), --threads N,
 * --sides LIST (fettle:fp32,fettle:int8,trl:defaults,trl:matched).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Recipe, type Precision } from '../../main/contract/recipe.ts';
import { loadBase, measureRounding } from '../../main/engine/index.ts';
import { AdamW } from '../../main/engine/train/adamw.ts';
import { assembleBatch } from '../../main/engine/train/batches.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { openModel } from '../../main/formats/open.ts';
import { found } from '../support/needs.ts';
import { conversations } from '../support/smollm2.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    batch: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(cpus().length) },
    sides: { type: 'string', default: 'fettle:fp32,fettle:int8,trl:defaults,trl:matched' },
  },
});
const [steps, batch, rounds, threads] = [values.steps, values.batch, values.rounds, values.threads].map(Number) as [
  number,
  number,
  number,
  number,
];
const python = join(import.meta.dirname, '.venv/bin/python');
const sides = values.sides.split(',').map((text) => text.split(':') as ['fettle' | 'trl', string]);
if (!found.starter || !found.gsm8k || (sides.some(([program]) => program === 'trl') && !existsSync(python))) {
  console.error('This benchmark needs the starter model, gsm8k (../shared/data), and TRL (see the head of this file).');
  process.exit(2);
}
const starter = found.starter;
const RATE = 2e-4;
const HELD_OUT = 40;
interface Outcome {
  readonly seconds: number;
  readonly rows: number;
  readonly heldOutLoss: number;
}

const files = await openModel(starter);
const form = { tokenizer: files.tokenizer, template: files.chatTemplate! };
const examples = (await conversations(found.gsm8k, (steps + 1) * batch + HELD_OUT, ['question', 'answer'])).map((row) =>
  chatExample(row, form),
);
const [training, heldOut] = [examples.slice(0, -HELD_OUT), examples.slice(-HELD_OUT)];
const lora = {
  rank: 16,
  alpha: 32,
  targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
};

async function fettle(precision: Precision): Promise<Outcome> {
  const rounding =
    precision === 'fp32'
      ? undefined
      : await measureRounding(files.config, files.weights, { threads, precision }, training);
  const base = await loadBase(files.config, files.weights, { threads, precision, rounding });
  const model = base.withLora({ ...lora, seed: 1 });
  const optimiser = new AdamW(model.parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 });
  let began = 0;
  for (let step = 0; step <= steps; step++) {
    const rows = training.slice(step * batch, (step + 1) * batch);
    const made = assembleBatch(
      rows.map((row) => [row]),
      1024,
    );
    model.parameters.gradients.fill(0);
    await model.accumulate(made, 1 / made.labelled);
    optimiser.step(RATE);
    // As on the other side, the first step is not counted.
    if (step === 0) began = performance.now();
  }
  const seconds = (performance.now() - began) / 1000;
  const recipe = Recipe.parse({ strategy: 'instruct', maxLength: 1024, batchSize: batch });
  const { loss } = (await evaluate(model, heldOut, recipe))!;
  await base.release();
  return { seconds, rows: steps * batch, heldOutLoss: loss };
}

const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-rows-'));
try {
  const rowsFile = join(folder, 'rows.jsonl');
  writeFileSync(
    rowsFile,
    examples.map(({ ids, loss }) => JSON.stringify({ input_ids: [...ids], completion_mask: [...loss] })).join('\n') +
      '\n',
  );
  const trl = (kind: string): Outcome =>
    JSON.parse(
      execFileSync(
        python,
        [
          join(import.meta.dirname, 'trl_rows.py'),
          starter,
          rowsFile,
          kind,
          ...[steps, batch, threads, RATE, HELD_OUT].map(String),
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HF_HUB_OFFLINE: '1' } },
      )
        .trim()
        .split('\n')
        .at(-1)!,
    ) as Outcome;
  const outcomes = sides.map(([program, how]) => ({ name: `${program} ${how}`, program, how, all: [] as Outcome[] }));
  for (let round = 0; round < rounds; round++)
    for (const side of outcomes)
      side.all.push(side.program === 'trl' ? trl(side.how) : await fettle(side.how as Precision));
  const best = (all: readonly Outcome[]): number => Math.max(...all.map(({ rows, seconds }) => rows / seconds));
  const reference = outcomes.find(({ name }) => name === 'trl defaults');
  for (const { name, all } of outcomes) {
    const times = reference ? `  ${(best(all) / best(reference.all)).toFixed(2)} times TRL's defaults` : '';
    console.log(
      `  ${name.padEnd(14)} ${best(all).toFixed(2).padStart(6)} rows/s  held-out loss ${all[0]!.heldOutLoss.toFixed(4)}${times}`,
    );
  }
  console.log(JSON.stringify({ benchmark: 'rows', cpu: cpus()[0]?.model ?? 'unknown', settings: values, outcomes }));
  await files.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
