/**
 * @file `npm run bench:quality`: what a base in fewer bits costs in what is learned. Trains LoRA on each base with the same
 * recipe in each precision and with several seeds, and measures the held-out loss twice: over the base it was trained on,
 * and over the base in fp32, which is what comparing and exporting use. The bases:
 *   starter  the bundled starter of 2.8 million numbers, on the sample project's replies
 *   tuned    SmolLM2-135M after steps that trained all its weights, on other rows of gsm8k than the adapter: made here once,
 *            seeded, and kept in the folder for temporary files
 *   smollm2  SmolLM2-135M as its file has it, on gsm8k. The file lies on a 4-bit grid (Q4_1), so that int4 costs it nothing:
 *            for fp32 and int8 alone
 * Each result is a line of JSON, and what stands in --out already is not measured again, so that it may be run in parts:
 * --bases LIST (starter,tuned), --precisions LIST (fp32,int8,int4), --seeds LIST (1,2,3), --steps N (200), --batch N (4 rows
 * a step, in making `tuned` too), --length N (512 tokens a row), --base-steps N (200, of `tuned`), --threads N, --out FILE
 * (results are added to it). A table of all comes last.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { isQuantised, PRECISIONS, Recipe, type Precision } from '../../main/contract/recipe.ts';
import { loadBase, measureRounding, type BaseModel, type TunedModel } from '../../main/engine/index.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { train } from '../../main/engine/train/trainer.ts';
import type { Example } from '../../main/engine/types.ts';
import type { Rounding } from '../../main/engine/quantise/freeze.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import { openModel } from '../../main/formats/open.ts';
import { found } from '../support/needs.ts';
import { conversations, SAMPLE_PAIRS } from '../support/smollm2.ts';
import { inWords, readOptions, spread, stop } from './options.ts';

const options = readOptions({
  bases: 'starter,tuned',
  precisions: PRECISIONS.join(),
  seeds: '1,2,3',
  steps: 200,
  batch: 4,
  length: 512,
  'base-steps': 200,
  threads: cpus().length,
  out: '',
});
const { threads, steps, batch, length } = options;
const seeds = options.seeds.split(',').map(Number);
const precisions = PRECISIONS.filter((each) => options.precisions.split(',').includes(each));

interface Base {
  readonly told: string;
  /** A folder or a file, made where it is not there. */
  path(): string | Promise<string>;
  /** Pairs to train on, and those that are held out after them. */
  readonly pairs: string | undefined;
  readonly fields: readonly [string, string];
  readonly rows: number;
  readonly heldOut: number;
  readonly learningRate: number;
}
const gsm8k = {
  pairs: found.gsm8k,
  fields: ['question', 'answer'],
  rows: 400,
  heldOut: 80,
  learningRate: 5e-4,
} as const;
const BASES: Readonly<Record<string, Base>> = {
  starter: {
    told: 'the bundled starter, 2.8 million numbers, sample replies',
    path: () => resolve(import.meta.dirname, '../../resources/starter'),
    pairs: SAMPLE_PAIRS,
    fields: ['instruction', 'response'],
    rows: 200,
    heldOut: 45,
    learningRate: 2e-3,
  },
  tuned: {
    ...gsm8k,
    told: `SmolLM2-135M after ${options['base-steps']} steps of all weights, gsm8k`,
    path: tunedBase,
  },
  smollm2: { ...gsm8k, told: 'SmolLM2-135M from its Q4_1 file, gsm8k', path: () => found.starter! },
};
const chosen = options.bases.split(',');
for (const name of chosen) {
  const base = BASES[name];
  if (!base) stop(`--bases are ${Object.keys(BASES).join(', ')}, not ${name}.`);
  if (!base.pairs || (name !== 'starter' && !found.starter))
    stop(`${name} needs SmolLM2 (npm test fetches it) and ../shared/data/instruct/gsm8k-test.jsonl.`);
}

interface Result {
  readonly base: string;
  /** The same in words, with what it was made by. */
  readonly told: string;
  readonly precision: Precision;
  readonly seed: number;
  readonly steps: number;
  readonly batch: number;
  readonly length: number;
  /** Held-out losses in nats: untrained and trained over the base in its precision, and trained over it in fp32. */
  readonly before: number;
  readonly after: number;
  readonly overFp32: number;
  readonly tokensPerSecond: number;
}
const keyOf = (of: Pick<Result, 'told' | 'precision' | 'seed' | 'steps' | 'batch' | 'length'>): string =>
  [of.told, of.precision, of.seed, of.steps, of.batch, of.length].join();
const results: Result[] =
  options.out && existsSync(options.out)
    ? readFileSync(options.out, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Result)
    : [];
const known = new Set(results.map(keyOf));

/** Trains in a folder that goes when it is done. */
async function trained(
  model: TunedModel,
  [rows, heldOut]: readonly [readonly Example[], readonly Example[]],
  recipe: Recipe,
  rounding?: Rounding,
): Promise<{ heldOutLossStart: number | null; heldOutLoss: number | null; tokensPerSecond: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-quality-'));
  try {
    const { result } = await train({
      model,
      train: rows,
      heldOut,
      recipe,
      runId: 'bench',
      checkpointDir: folder,
      onEvent: () => undefined,
      control: { requested: () => 'none' },
      clock: () => performance.now(),
      memory: () => 0,
      rounding,
    });
    return result!;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function examplesOf(path: string, { pairs, fields }: Base, count: number): Promise<Example[]> {
  const files = await openModel(path);
  const form = { tokenizer: files.tokenizer, template: files.chatTemplate! };
  const examples = (await conversations(pairs!, count, fields)).map((row) => chatExample(row, form));
  await files.close();
  return examples;
}

/** SmolLM2 off its grid: all weights trained on rows that no adapter here is trained on or measured by. */
async function tunedBase(): Promise<string> {
  const path = join(tmpdir(), `fettle-bench-tuned-${options['base-steps']}x${batch}x${length}`);
  if (existsSync(path)) return path;
  const first = gsm8k.rows + gsm8k.heldOut;
  const rows = (await examplesOf(found.starter!, BASES['tuned']!, first + 800)).slice(first);
  const recipe = Recipe.parse({
    strategy: 'instruct',
    method: 'full',
    learningRate: 5e-5,
    maxSteps: options['base-steps'],
    batchSize: batch,
    maxLength: length,
    evalEvery: 0,
    saveEvery: 0,
    seed: 1,
  });
  const files = await openModel(found.starter!);
  const base = await loadBase(files.config, files.weights, { threads });
  const model = base.becomeAllTrained(recipe);
  await trained(model, [rows, []], recipe);
  const weights = mergedWeights(mergeableOf(model), files.weights, base.spec);
  // Whole or not at all: a run that ends before leaves no half of a base for the next.
  const begun = mkdtempSync(join(tmpdir(), 'fettle-bench-begun-'));
  await writeModelFolder(join(begun, 'model'), { ...files, weights }, { dtype: 'f32' });
  await base.release();
  await files.close();
  renameSync(join(begun, 'model'), path);
  rmSync(begun, { recursive: true });
  return path;
}

for (const name of chosen) {
  const of = BASES[name]!;
  const wanted = precisions.flatMap((precision) =>
    seeds
      .map((seed) => ({ base: name, told: of.told, precision, seed, steps, batch, length }))
      .filter((each) => !known.has(keyOf(each))),
  );
  if (wanted.length === 0) continue;
  const path = await of.path();
  const examples = await examplesOf(path, of, of.rows + of.heldOut);
  const rows = [examples.slice(0, of.rows), examples.slice(of.rows)] as const;
  const files = await openModel(path);
  const exact = await loadBase(files.config, files.weights, { threads });
  for (const precision of precisions) {
    const left = wanted.filter((each) => each.precision === precision);
    if (left.length === 0) continue;
    const rounding = isQuantised(precision)
      ? await measureRounding(files.config, files.weights, { threads, precision }, rows[0])
      : undefined;
    const base: BaseModel =
      precision === 'fp32' ? exact : await loadBase(files.config, files.weights, { threads, precision, rounding });
    for (const each of left) {
      const recipe = Recipe.parse({
        strategy: 'instruct',
        learningRate: of.learningRate,
        maxSteps: steps,
        batchSize: batch,
        maxLength: length,
        evalEvery: 0,
        saveEvery: 0,
        precision,
        seed: each.seed,
      });
      const model = base.withLora(recipe);
      const { heldOutLossStart, heldOutLoss, tokensPerSecond } = await trained(model, rows, recipe, rounding);
      const onExact = exact.withLora(recipe);
      onExact.parameters.values.set(model.parameters.values);
      const { loss } = (await evaluate(onExact, rows[1], recipe))!;
      const result = { ...each, before: heldOutLossStart!, after: heldOutLoss!, overFp32: loss, tokensPerSecond };
      results.push(result);
      const line = JSON.stringify({ ...result, cpu: cpus()[0]?.model ?? 'unknown' });
      console.log(line);
      if (options.out) appendFileSync(options.out, `${line}\n`);
    }
    if (base !== exact) await base.release();
  }
  await exact.release();
  await files.close();
}

console.log(
  `\nHeld-out loss after ${steps} steps, over its own base and over the fp32 base; in % of that of fp32 with the same seed`,
);
const these = results.filter((each) => each.steps === steps && each.batch === batch && each.length === length);
for (const told of new Set(these.map((each) => each.told)))
  for (const precision of PRECISIONS) {
    const of = these.filter((each) => each.told === told && each.precision === precision);
    if (of.length === 0) continue;
    const exact = of.map((each) => these.find((other) => keyOf(other) === keyOf({ ...each, precision: 'fp32' })));
    const mean = (take: (each: Result) => number): string =>
      (of.reduce((sum, each) => sum + take(each), 0) / of.length).toFixed(4);
    const share = (take: (each: Result) => number): string =>
      exact.every((each) => each !== undefined)
        ? inWords(spread(of.map((each, i) => (100 * take(each)) / exact[i]!.after - 100)))
        : 'fp32 not measured';
    console.log(
      `  ${told}, ${precision}, seeds ${of.map(({ seed }) => seed).join()}: before ${mean((r) => r.before)}, after ${mean((r) => r.after)} (${share((r) => r.after)}), over fp32 ${mean((r) => r.overFp32)} (${share((r) => r.overFp32)})`,
    );
  }
