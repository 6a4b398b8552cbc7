/**
 * @file `npm run bench:start`: seconds from the command `fettle train` to the first loss it tells, that on unseen rows
 * before the first step, with SmolLM2 in the library and 40 rows of arithmetic; and where they went.
 * A base in fewer bits is made anew in the first rounds, and found in the others.
 * Options: --rounds N, --threads N, --only TEXT (a precision).
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { TrainEvent } from '../../main/contract/training.ts';
import { createApp } from '../../main/hosts/app.ts';
import { found } from '../support/needs.ts';
import { sums } from '../support/sums.ts';
import { readOptions, stop } from './options.ts';

const values = readOptions({ rounds: 3, threads: 2, only: '' });
/** A base in fewer bits is made by the first run with it, and kept for those after it. */
const CASES = [
  { precision: 'fp32', kept: true },
  { precision: 'int8', kept: false },
  { precision: 'int8', kept: true },
  { precision: 'int4', kept: false },
  { precision: 'int4', kept: true },
] as const;
const ROWS = 40;
const COMMAND = join(import.meta.dirname, '../../main/cli/fettle.ts');

if (!found.starter) stop('The benchmark needs the starter model (npm test fetches it).');
const folder = await mkdtemp(join(tmpdir(), 'fettle-start-'));
const home = join(folder, 'home');

/** Brings model and data in, as a person has done before. */
async function prepare(starter: string): Promise<string> {
  const app = createApp({ home, kind: 'command', threads: values.threads });
  try {
    await app.client.call('projects.create', { name: 'Sums' });
    const added = await app.core.jobs.settled(
      (await app.client.call('models.add', { path: starter, name: 'smol' })).id,
    );
    const file = join(folder, 'sums.jsonl');
    await writeFile(file, sums(ROWS));
    await app.core.jobs.settled((await app.client.call('datasets.import', { project: 'sums', paths: [file] })).id);
    return added.subject;
  } finally {
    await app.close();
  }
}

interface Started {
  readonly seconds: number;
  /** Each stage that was told, with the seconds until it began. */
  readonly stages: readonly { readonly stage: string; readonly at: number }[];
}

function start(model: string, precision: string): Promise<Started> {
  const begun = performance.now();
  const child = spawn(
    process.execPath,
    [
      COMMAND,
      'train',
      'sums',
      '--model',
      model,
      '--set',
      `precision=${precision}`,
      '--set',
      'maxSteps=1',
      '--json',
      '--home',
      home,
      '--threads',
      String(values.threads),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const stages: { stage: string; at: number }[] = [];
  let seconds: number | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { success, data: event } = TrainEvent.safeParse(JSON.parse(line));
    if (!success) return;
    const at = (performance.now() - begun) / 1000;
    if (event.type === 'state' && event.stage !== undefined && seconds === undefined)
      stages.push({ stage: event.stage, at });
    if (event.type === 'eval') seconds ??= at;
  });
  return new Promise((resolve, reject) => {
    child.on('close', (code) =>
      seconds === undefined || code !== 0
        ? reject(new Error(`the command ended with ${code} and ${seconds === undefined ? 'no' : 'a'} loss`))
        : resolve({ seconds, stages }),
    );
  });
}

const results: Record<string, unknown>[] = [];
try {
  const model = await prepare(found.starter);
  for (const { precision, kept } of CASES) {
    const title = `${precision}${precision === 'fp32' ? '' : kept ? ', kept' : ', made anew'}`;
    if (!title.includes(values.only)) continue;
    const tries: Started[] = [];
    for (let i = 0; i < values.rounds; i++) {
      if (!kept) await rm(join(home, 'prepared'), { recursive: true, force: true });
      tries.push(await start(model, precision));
    }
    tries.sort((a, b) => a.seconds - b.seconds);
    const middle = tries[tries.length >> 1]!;
    console.log(
      `${title}: first loss after ${tries.map(({ seconds }) => seconds.toFixed(1)).join(', ')} s; of the middle one:`,
    );
    const { stages, seconds } = middle;
    for (const [i, { stage, at }] of [{ stage: 'The command, until the run is started', at: 0 }, ...stages].entries())
      console.log(`  ${((stages[i]?.at ?? seconds) - at).toFixed(2).padStart(6)} s  ${stage}`);
    results.push({ title, seconds: tries.map((each) => each.seconds), stages });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log(
  JSON.stringify({
    benchmark: 'start',
    cpu: cpus()[0]?.model,
    node: process.version,
    threads: values.threads,
    results,
  }),
);
