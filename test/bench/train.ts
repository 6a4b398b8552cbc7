/**
 * @file `npm run bench`: LoRA steps of SmolLM2-135M in Fettle and in transformers + peft, on this machine, in turns.
 * All sides train rank 16 on all linears with AdamW, on the same ids, with loss on every token; what differs is the
 * precision of the frozen base (in peft's bf16 that of the adapter too). Prints a table and, as the last line, JSON.
 * Options: --rounds N, --threads N, --sides LIST (fettle:fp32,fettle:int8,fettle:int4,peft:fp32,peft:bf16;
 * fettle:fp32:webgpu for a graphics processor), --device webgpu (it beside the processor and peft), --cases LIST
 * (256x1,512x4: tokens by rows), --json (JSON alone).
 */
import { spawn } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { join } from 'node:path';
import { found } from '../support/needs.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(cpus().length) },
    device: { type: 'string', default: 'cpu' },
    sides: { type: 'string' },
    cases: { type: 'string', default: '256x1,512x4' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const RANK = 16;
const CASES = values.cases.split(',').map((text) => {
  const [length, rows] = text.split('x').map(Number) as [number, number];
  return { length, rows, steps: length * rows > 1000 ? 1 : 3 };
});
const USUAL = {
  cpu: 'fettle:fp32,fettle:int8,fettle:int4,peft:fp32,peft:bf16',
  webgpu: 'fettle:fp32:webgpu,fettle:fp32,peft:fp32,peft:bf16',
};
const chosen = values.sides ?? USUAL[values.device as keyof typeof USUAL];
if (chosen === undefined) {
  console.error(`--device is cpu or webgpu, not ${values.device}.`);
  process.exit(2);
}
/** Program, precision, and the device where it is not the processor. */
const SIDES = chosen.split(',').map((text) => text.split(':') as ['fettle' | 'peft', string, ('cpu' | 'webgpu')?]);

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

const needsPython = SIDES.some(([program]) => program === 'peft');
if ((needsPython && !found.python) || !found.starter) {
  const missing =
    found.starter === undefined
      ? 'the starter model (npm test fetches it)'
      : 'PyTorch with peft (.ci/run installs it into test/numerics/.venv)';
  console.error(`The benchmark needs ${missing}.`);
  process.exit(2);
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
    found.starter!,
    precision,
    ...[length, rows, RANK, Number(values.threads)].map(String),
    ...(program === 'fettle' ? [device] : []),
  ];
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, HF_HUB_OFFLINE: '1' } });
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

const median = (sorted: readonly number[]): number => sorted.toSorted((a, b) => a - b)[sorted.length >> 1]!;
const rate = (tokens: number, seconds: readonly number[]): number => tokens / median(seconds);

const results = [];
for (const { length, rows, steps } of CASES) {
  const tokens = length * rows;
  log(`\nT=${length} B=${rows}: ${tokens} tokens a step, all labelled`);
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
  const compared = sides.map(({ program, precision, firstLoss, seconds, peakBytes, rounds: own }) => ({
    program,
    precision,
    tokensPerSecond: rate(tokens, seconds),
    peakBytes,
    firstLoss,
    // Within each round, since the machine's own speed swings from one minute to the next.
    times: Object.fromEntries(
      sides
        .filter((other) => other.program === 'peft' || other.precision === 'fp32')
        .map((other) => {
          const ratios = own.map((mine, i) => other.rounds[i]! / mine);
          const spread = { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) };
          return [`${other.program} ${other.precision}`, spread];
        }),
    ),
  }));
  results.push({ length, rows, labelledTokensPerStep: tokens, sides: compared });
  for (const { program, precision, tokensPerSecond, peakBytes, firstLoss, times } of compared) {
    const against = Object.entries(times)
      .filter(([name]) => name !== `${program} ${precision}`)
      .map(([name, r]) => `${r.median.toFixed(2)} times ${name} (${r.low.toFixed(2)} to ${r.high.toFixed(2)})`);
    const figures = `${tokensPerSecond.toFixed(0).padStart(6)} tok/s  ${(peakBytes / 1e9).toFixed(2).padStart(5)} GB  first loss ${firstLoss.toFixed(4)}`;
    log(`  ${`${program} ${precision}`.padEnd(24)} ${figures}  ${against.join(', ')}`);
  }
}
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  threads: Number(values.threads),
  memoryBytes: totalmem(),
  node: process.version,
};
log(`\n${machine.cpu}, ${machine.threads} threads, Node ${machine.node}`);
console.log(
  JSON.stringify({
    benchmark: 'lora-step',
    model: 'SmolLM2-135M-Instruct',
    rank: RANK,
    machine,
    results,
  }),
);
