/**
 * @file `npm run bench:exports`: SmolLM2-135M tuned for some steps on 400 rows of gsm8k (the sample's replies where it is
 * not at hand), measured against its base, and exported: each format proven, or refused with its figure.
 * Prints times, sizes, and the most memory that a process held while it wrote. Options: --steps N, --suites LIST,
 * --formats FORMAT:TYPE,... (or all), --json (the figures alone).
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExportFormat, ExportType, SuiteName, type Export, type Measured } from '../../main/contract/entities.ts';
import { inPercent, TYPES_OF } from '../../main/contract/export-types.ts';
import { createApp, type App } from '../../main/hosts/app.ts';
import { found } from '../support/needs.ts';
import { readOptions, stop } from './options.ts';
import { SAMPLE_PAIRS } from '../support/smollm2.ts';

const values = readOptions({
  steps: 25,
  suites: 'held-out,task,prose',
  formats: 'adapter:f32,gguf-adapter:f16,safetensors:f32,gguf:q8_0,gguf:q4_k_m,gguf:q4_0,ollama:q8_0,onnx:q8',
  json: false,
});
const ROWS = 400;
/** Of the rows: enough for a proof, and soon asked. */
const HELD_OUT = 0.05;
const wanted =
  values.formats === 'all'
    ? ExportFormat.options.flatMap((format) => TYPES_OF[format].map((dtype) => ({ format, dtype })))
    : values.formats.split(',').map((pair) => {
        const [format, dtype] = pair.split(':');
        return { format: ExportFormat.parse(format), dtype: ExportType.parse(dtype) };
      });

if (!found.starter) stop('The benchmark needs the starter model (npm test fetches it).');
if (found.llamaCpp) process.env.FETTLE_LLAMA_CPP ??= found.llamaCpp;
const log = (text: string): void => {
  if (!values.json) console.log(text);
};
const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-exports-'));
const app = createApp({ home: join(folder, 'home'), kind: 'command', threads: cpus().length });
const { client } = app;
const took = async <T>(work: () => Promise<T>): Promise<[result: T, seconds: number]> => {
  const began = performance.now();
  const result = await work();
  return [result, (performance.now() - began) / 1000];
};
const settled = (kind: Parameters<App['core']['jobs']['of']>[0], subject: string): Promise<unknown> =>
  app.core.jobs.settled(app.core.jobs.of(kind, subject)!.id);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const margin = ({ value, low, high }: Measured): string =>
  `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;

/** Resident bytes of the processes that this one started. Linux alone tells. */
function childrenBytes(): number {
  try {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
    const sizes = children.map((pid) => /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    return Math.max(0, ...sizes.map((kib) => Number(kib) * 1024));
  } catch {
    return 0;
  }
}

async function tuned(): Promise<string> {
  const [source, name] = found.gsm8k ? [found.gsm8k, 'gsm8k'] : [SAMPLE_PAIRS, 'the sample'];
  const rows = readFileSync(source, 'utf8').trim().split('\n').slice(0, ROWS);
  const data = join(folder, 'rows.jsonl');
  writeFileSync(data, `${rows.join('\n')}\n`);
  await client.call('projects.create', { name: 'Sums' });
  const added = await client.call('models.add', { path: found.starter!, name: 'smollm2' });
  await app.core.jobs.settled(added.id);
  const brought = await client.call('datasets.import', { project: 'sums', paths: [data], heldOut: HELD_OUT });
  await app.core.jobs.settled(brought.id);
  const set = { maxSteps: values.steps, evalEvery: 0, saveEvery: 0, batchSize: 4, maxLength: 320 };
  const run = await client.call('runs.start', { project: 'sums', model: 'smollm2', strategy: 'instruct', set });
  const [, seconds] = await took(() => settled('train', run.id));
  const { step, state, error } = await client.call('runs.show', { run: run.id });
  log(`Trained ${step} steps on ${rows.length} rows of ${name} in ${seconds.toFixed(0)} s: ${state}.`);
  if (error) throw new Error(error.message);
  return run.id;
}

async function measured(run: string): Promise<unknown> {
  const suites = values.suites.split(',').map((name) => SuiteName.parse(name));
  const { id } = await client.call('evaluation.compare', {
    project: 'sums',
    targets: ['smollm2', run],
    suites,
    samples: 12,
  });
  const [, seconds] = await took(() => settled('compare', id));
  const { result, error } = await client.call('evaluation.show', { comparison: id });
  if (!result) throw new Error(error?.message ?? 'The comparison gave nothing.');
  log(`\nMeasured in ${seconds.toFixed(0)} s, with margins of 95%:`);
  for (const { label, loss } of result.losses) log(`  ${label}: loss on unseen rows ${margin(loss)} nats a token`);
  const card = result.scorecard;
  if (card?.goal) log(`  the task: ${card.goal.scores.map(margin).join(' against ')}`);
  if (card?.general) log(`  general skills: ${card.general.scores.map(margin).join(' against ')}`);
  if (card?.prose) log(`  other text: ${card.prose.losses.map(margin).join(' against ')} nats a token`);
  for (const { sentence } of result.differences) log(`  ${sentence}`);
  return { seconds, losses: result.losses, scorecard: card && { goal: card.goal?.scores, prose: card.prose?.losses } };
}

async function exported(run: string, { format, dtype }: (typeof wanted)[number]): Promise<unknown> {
  const out = join(folder, `${format}-${dtype}`);
  let writing = 0;
  const sample = setInterval(() => {
    const job = app.core.jobs.list({ active: true }).find(({ kind }) => kind === 'export');
    if (job?.stage === 'Writing the files') writing = Math.max(writing, childrenBytes());
  }, 50);
  const [made, seconds] = await took(async (): Promise<Export> => {
    const { id } = await client.call('exports.start', { run, format, dtype, out });
    await settled('export', id);
    return client.call('exports.show', { export: id });
  });
  clearInterval(sample);
  rmSync(out, { recursive: true, force: true });
  const { proof, error, bytes } = made;
  const readers = proof ? [proof.by, ...proof.readers.map(({ name }) => name)].join(' and ') : '';
  const figures = proof?.likelihood
    ? `${proof.tokensEqual} of ${proof.tokensCompared} tokens, loss ${inPercent(proof.likelihood.change)} off`
    : '';
  log(
    `  ${`${format} ${dtype}`.padEnd(20)} ${error ? 'refused' : 'proven '} ${figures}${error ? `; ${error.message}` : `, read by ${readers}`}; ${megabytes(bytes)}, ${seconds.toFixed(0)} s, ${megabytes(writing)} held while writing`,
  );
  return { format, dtype, verdict: proof?.verdict ?? null, error, bytes, seconds, writingBytes: writing, readers };
}

try {
  const cpu = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} threads`;
  log(`${cpu}; node ${process.version}\n`);
  const run = await tuned();
  const comparison = await measured(run);
  log('\nExports:');
  const exports: unknown[] = [];
  for (const each of wanted) exports.push(await exported(run, each));
  if (values.json) console.log(JSON.stringify({ cpu, node: process.version, comparison, exports }, null, 2));
} finally {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
}
