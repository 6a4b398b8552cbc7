/**
 * @file `npm run bench`: LoRA steps of SmolLM2-135M in Fettle and in transformers + peft, on this machine, in turns.
 * Both sides train rank 16 on all linears in fp32 with AdamW, on the same ids, with loss on every token.
 * Prints a table and, as the last line, JSON. Options: --rounds N, --threads N, --json (JSON alone).
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
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const RANK = 16;
const CASES = [
  { length: 256, rows: 1, steps: 3 },
  { length: 512, rows: 4, steps: 1 },
] as const;

interface Answer {
  readonly seconds: readonly number[];
  readonly losses: readonly number[];
  readonly peakBytes: number;
}
interface Side {
  steps(n: number): Promise<Answer>;
  close(): void;
}

if (!found.python || !found.starter) {
  const missing = found.python
    ? 'the starter model (npm test fetches it)'
    : 'PyTorch with peft (.ci/run installs it into test/numerics/.venv)';
  console.error(`The benchmark needs ${missing}.`);
  process.exit(2);
}
const log = (text: string): void => {
  if (!values.json) console.log(text);
};

function open(command: string, script: string, length: number, rows: number): Promise<Side> {
  const args = [
    join(import.meta.dirname, script),
    found.starter!,
    'fp32',
    ...[length, rows, RANK, Number(values.threads)].map(String),
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
  const fettle = await open(process.execPath, 'fettle_steps.ts', length, rows);
  const peft = await open(found.python, 'peft_steps.py', length, rows);
  const [ours, theirs] = [[] as number[], [] as number[]];
  const ratios: number[] = [];
  const first = [await fettle.steps(1), await peft.steps(1)];
  let peaks = [0, 0];
  for (let round = 0; round < rounds; round++) {
    const [a, b] = [await fettle.steps(steps), await peft.steps(steps)];
    ours.push(...a.seconds);
    theirs.push(...b.seconds);
    ratios.push(median(b.seconds) / median(a.seconds));
    peaks = [a.peakBytes, b.peakBytes];
  }
  fettle.close();
  peft.close();
  const result = {
    length,
    rows,
    labelledTokensPerStep: tokens,
    fettle: { tokensPerSecond: rate(tokens, ours), peakBytes: peaks[0]!, firstLoss: first[0]!.losses[0]! },
    peft: { tokensPerSecond: rate(tokens, theirs), peakBytes: peaks[1]!, firstLoss: first[1]!.losses[0]! },
    ratio: { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) },
  };
  results.push(result);
  const line = (name: string, side: typeof result.fettle): string =>
    `  ${name.padEnd(20)} ${side.tokensPerSecond.toFixed(0).padStart(6)} tokens/s   ${(side.peakBytes / 1e9).toFixed(2).padStart(5)} GB   first loss ${side.firstLoss.toFixed(4)}`;
  log(line('Fettle', result.fettle));
  log(line('transformers + peft', result.peft));
  log(
    `  ratio ${result.ratio.median.toFixed(2)} (${result.ratio.low.toFixed(2)} to ${result.ratio.high.toFixed(2)} over ${rounds} rounds), memory ${(peaks[0]! / peaks[1]!).toFixed(2)}`,
  );
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
    precision: 'fp32',
    machine,
    results,
  }),
);
