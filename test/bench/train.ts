/**
 * @file `npm run bench`: LoRA steps of SmolLM2-135M in Fettle and in transformers + peft, on this machine, in turns.
 * All sides train rank 16 on all linears with AdamW, on the same ids, with loss on every token; what differs is the
 * precision of the frozen base (in peft's bf16 that of the adapter too). Prints a table with the share that Fettle
 * reaches of what this machine can multiply, measured before each case and after it, and, as the last line, JSON.
 * Options: --rounds N, --threads N, --sides LIST (fettle:fp32,fettle:fp16,fettle:int8,fettle:int4,peft:fp32,peft:bf16; on a
 * graphics processor fettle:fp32:webgpu and, where it is NVIDIA's, peft:fp32:cuda), --device webgpu (it beside the
 * processor), --cases LIST (256x1,512x4: tokens by rows), --steps N (of a round), --model smollm2, or 135m or 1.1b (Llamas
 * of those sizes with random weights), --json (JSON alone).
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { PRECISIONS, type Precision } from '../../main/contract/recipe.ts';
import { readSpec } from '../../main/engine/index.ts';
import { openModel } from '../../main/formats/open.ts';
import { childEnv } from '../../main/workers/process-host.ts';
import { LARGE, SMOLLM2, writeTinyModel } from '../fixtures/tiny-model.ts';
import { found } from '../support/needs.ts';
import { leastSeconds, peakSpeeds } from './bound.ts';
import { inWords, median, othersEnv, ratios, readOptions, stop } from './options.ts';

const values = readOptions({
  rounds: 5,
  threads: cpus().length,
  device: 'cpu',
  sides: '',
  cases: '256x1,512x4',
  model: 'smollm2',
  steps: '',
  json: false,
});
const { rounds, threads } = values;
const RANK = 16;
const CASES = values.cases.split(',').map((text) => {
  const [length, rows] = text.split('x').map(Number) as [number, number];
  return { length, rows, steps: Number(values.steps) || (length * rows > 1000 ? 1 : 3) };
});
const USUAL = {
  cpu: 'fettle:fp32,fettle:int8,fettle:int4,peft:fp32,peft:bf16',
  webgpu: 'fettle:fp32:webgpu,fettle:fp32,peft:fp32,peft:bf16',
};
if (!(values.device in USUAL)) stop(`--device is cpu or webgpu, not ${values.device}.`);
const chosen = values.sides || USUAL[values.device as keyof typeof USUAL];
/** Program, precision, and the device where it is not the processor. */
const SIDES = chosen
  .split(',')
  .map((text) => text.split(':') as ['fettle' | 'peft', string, ('cpu' | 'webgpu' | 'cuda')?]);

interface Answer {
  readonly seconds: readonly number[];
  readonly losses: readonly number[];
  readonly peakBytes: number;
}
interface Entrant {
  readonly program: 'fettle' | 'peft';
  readonly precision: string;
  readonly side: Side;
  readonly firstLoss: number;
  /** Of each step, and the middle one of each round. */
  readonly seconds: number[];
  readonly rounds: number[];
  peakBytes: number;
}
interface Side {
  steps(n: number): Promise<Answer>;
  close(): void;
}

const RANDOM = { '135m': SMOLLM2, '1.1b': LARGE };
if (!(values.model === 'smollm2' || values.model in RANDOM))
  stop(`--model is smollm2, 135m or 1.1b, not ${values.model}.`);
const made = RANDOM[values.model as keyof typeof RANDOM];
const needsPython = SIDES.some(([program]) => program === 'peft');
if ((needsPython && !found.python) || (!made && !found.starter)) {
  const missing =
    !made && found.starter === undefined
      ? 'the starter model (npm test fetches it)'
      : 'PyTorch with peft (.ci/run installs it into test/numerics/.venv)';
  stop(`The benchmark needs ${missing}.`);
}
const log = (text: string): void => {
  if (!values.json) console.log(text);
};

function open(
  [program, precision, device = 'cpu']: (typeof SIDES)[number],
  length: number,
  rows: number,
): Promise<Side> {
  const [command, script] =
    program === 'fettle' ? [process.execPath, 'fettle_steps.ts'] : [found.python!, 'peft_steps.py'];
  const args = [
    join(import.meta.dirname, script),
    modelPath,
    precision,
    ...[length, rows, RANK, threads].map(String),
    device,
  ];
  const env = program === 'fettle' ? childEnv(process.env) : othersEnv();
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<Answer> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${script} ended: ${said}`);
    return JSON.parse(value) as Answer;
  };
  const side: Side = {
    async steps(n) {
      child.stdin.write(`${n}\n`);
      return read();
    },
    close: () => child.stdin.end(),
  };
  return read().then(() => side);
}

const rate = (tokens: number, seconds: readonly number[]): number => tokens / median(seconds);

const folder = made ? mkdtempSync(join(tmpdir(), 'fettle-bench-')) : null;
const modelPath = folder ? await writeTinyModel(join(folder, 'random'), made) : found.starter!;
const files = await openModel(modelPath);
const spec = readSpec(files.config);
await files.close();
const results = [];
for (const { length, rows, steps } of CASES) {
  const tokens = length * rows;
  log(`\nT=${length} B=${rows}: ${tokens} tokens a step, all labelled`);
  const before = await peakSpeeds(threads);
  const sides: Entrant[] = [];
  for (const each of SIDES) {
    const [program, precision, device] = each;
    const side = await open(each, length, rows);
    const firstLoss = (await side.steps(1)).losses[0]!;
    const named = device ? `${precision} on ${device}` : precision;
    sides.push({ program, precision: named, side, firstLoss, seconds: [], rounds: [], peakBytes: 0 });
  }
  for (let round = 0; round < rounds; round++)
    for (const each of sides) {
      const { seconds, peakBytes } = await each.side.steps(steps);
      each.seconds.push(...seconds);
      each.rounds.push(median(seconds));
      each.peakBytes = peakBytes;
    }
  for (const { side } of sides) side.close();
  const after = await peakSpeeds(threads);
  const peak = { fp32: Math.max(before.fp32, after.fp32), int8: Math.max(before.int8, after.int8) };
  log(`  products alone: fp32 ${peak.fp32.toFixed(0)} GF/s, int8 ${peak.int8.toFixed(0)} GF/s`);
  const compared = sides.map(({ program, precision, firstLoss, seconds, peakBytes, rounds: own }) => ({
    program,
    precision,
    tokensPerSecond: rate(tokens, seconds),
    peakBytes,
    firstLoss,
    // Fettle's on the processor: the others multiply with other kernels.
    ofBound:
      program === 'fettle' && (PRECISIONS as readonly string[]).includes(precision)
        ? leastSeconds(spec, { rows, length, rank: RANK, precision: precision as Precision }, peak) / median(seconds)
        : null,
    // Within each round, since the machine's own speed swings from one minute to the next.
    times: Object.fromEntries(
      sides
        .filter((other) => other.program === 'peft' || other.precision === 'fp32')
        .map((other) => [`${other.program} ${other.precision}`, ratios(other.rounds, own)]),
    ),
  }));
  results.push({ length, rows, labelledTokensPerStep: tokens, peak, sides: compared });
  for (const { program, precision, tokensPerSecond, peakBytes, firstLoss, ofBound, times } of compared) {
    const against = Object.entries(times)
      .filter(([name]) => name !== `${program} ${precision}`)
      .map(([name, times]) => `${inWords(times)} times ${name}`);
    const figures = `${tokensPerSecond.toFixed(0).padStart(6)} tok/s  ${(peakBytes / 1e9).toFixed(2).padStart(5)} GB  first loss ${firstLoss.toFixed(4)}${ofBound === null ? '' : `  ${(100 * ofBound).toFixed(0)}% of the bound`}`;
    log(`  ${`${program} ${precision}`.padEnd(24)} ${figures}  ${against.join(', ')}`);
  }
}
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  threads,
  memoryBytes: totalmem(),
  node: process.version,
};
log(`\n${machine.cpu}, ${machine.threads} threads, Node ${machine.node}`);
console.log(
  JSON.stringify({
    benchmark: 'lora-step',
    model: made ? `Llama of ${values.model} parameters, random` : 'SmolLM2-135M-Instruct',
    rank: RANK,
    machine,
    results,
  }),
);
if (folder) rmSync(folder, { recursive: true, force: true });
