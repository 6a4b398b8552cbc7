/**
 * @file `npm run bench:quality`: what a base in fewer bits costs in what is learned. Trains SmolLM2-135M on gsm8k's answers
 * with the same recipe in each precision and with several seeds, and measures the held-out loss twice: over the base it was
 * trained on, and over the base in fp32, which is what comparing and exporting use.
 * Prints a table and, as the last line, JSON. Options: --steps N (200), --seeds LIST (1,2,3), --precisions LIST
 * (fp32,int8,int4), --threads N, --rows N (400 to train on; 80 more are held out), --batch N (4), --json (JSON alone).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PRECISIONS, Recipe } from '../../main/contract/recipe.ts';
import { loadBase, measureRounding } from '../../main/engine/index.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { train } from '../../main/engine/train/trainer.ts';
import { openModel } from '../../main/formats/open.ts';
import { found } from '../support/needs.ts';
import { conversations } from '../support/smollm2.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '200' },
    seeds: { type: 'string', default: '1,2,3' },
    precisions: { type: 'string', default: PRECISIONS.join() },
    threads: { type: 'string', default: String(cpus().length) },
    rows: { type: 'string', default: '400' },
    batch: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
  },
});
if (!found.starter || !found.gsm8k) {
  console.error(
    'This benchmark needs the starter model (npm test fetches it) and ../shared/data/instruct/gsm8k-test.jsonl.',
  );
  process.exit(2);
}
const HELD_OUT = 80;
const log = (text: string): void => {
  if (!values.json) console.log(text);
};
const [threads, rows] = [Number(values.threads), Number(values.rows)];
const files = await openModel(found.starter);
const form = { tokenizer: files.tokenizer, template: files.chatTemplate! };
const examples = (await conversations(found.gsm8k, rows + HELD_OUT, ['question', 'answer'])).map((row) =>
  chatExample(row, form),
);
const [training, heldOut] = [examples.slice(0, rows), examples.slice(rows)];
const exact = await loadBase(files.config, files.weights, { threads });
const results = [];
for (const precision of PRECISIONS.filter((each) => values.precisions.split(',').includes(each))) {
  const rounding =
    precision === 'fp32'
      ? undefined
      : await measureRounding(files.config, files.weights, { threads, precision }, training);
  const base =
    precision === 'fp32' ? exact : await loadBase(files.config, files.weights, { threads, precision, rounding });
  for (const seed of values.seeds.split(',').map(Number)) {
    const recipe = Recipe.parse({
      strategy: 'instruct',
      learningRate: 5e-4,
      maxSteps: Number(values.steps),
      batchSize: Number(values.batch),
      maxLength: 512,
      evalEvery: 0,
      saveEvery: 0,
      precision,
      seed,
    });
    const model = base.withLora(recipe);
    const folder = mkdtempSync(join(tmpdir(), 'fettle-quality-'));
    const { result } = await train({
      model,
      train: training,
      heldOut,
      recipe,
      runId: `${precision}-${seed}`,
      checkpointDir: folder,
      onEvent: () => undefined,
      control: { requested: () => 'none' },
      clock: () => performance.now(),
      memory: () => 0,
      rounding,
    });
    rmSync(folder, { recursive: true, force: true });
    const onExact = exact.withLora(recipe);
    onExact.parameters.values.set(model.parameters.values);
    const { loss } = (await evaluate(onExact, heldOut, recipe))!;
    const row = {
      precision,
      seed,
      before: result!.heldOutLossStart!,
      after: result!.heldOutLoss!,
      overFp32: loss,
      tokensPerSecond: result!.tokensPerSecond,
    };
    results.push(row);
    log(
      `${precision}  seed ${seed}  before ${row.before.toFixed(4)}  after ${row.after.toFixed(4)}  over the fp32 base ${loss.toFixed(4)}  ${row.tokensPerSecond.toFixed(0)} tok/s`,
    );
  }
  if (base !== exact) await base.release();
}
await exact.release();
await files.close();
console.log(
  JSON.stringify({
    benchmark: 'precision-quality',
    model: 'SmolLM2-135M-Instruct',
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    settings: values,
    results,
  }),
);
