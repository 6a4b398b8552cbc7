/**
 * @file `npm run bench:generate`: tokens a second that SmolLM2-135M writes, in Fettle (each precision of the base; one text,
 * and several at a time) and in llama.cpp (its 8-bit file, one text), with the same prompt and threads, in turns.
 * Prints a table and, as the last line, JSON. Options: --tokens N (64), --rounds N (3), --rows LIST (1,4,8), --threads N.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { argmax } from '../../main/engine/generate/sampler.ts';
import { loadBase, measureRounding, type BaseModel } from '../../main/engine/index.ts';
import type { Decoder } from '../../main/engine/types.ts';
import { writeModelGguf } from '../../main/formats/gguf/export.ts';
import { openModel } from '../../main/formats/open.ts';
import { found } from '../support/needs.ts';
import { asFettleProcess, median, othersEnv, ratios, readOptions, stop } from './options.ts';

asFettleProcess();
const options = readOptions({ tokens: 64, rounds: 3, rows: '1,4,8', threads: cpus().length });
const { tokens, rounds, threads } = options;
if (!found.starter || !found.llamaCpp)
  stop('The benchmark needs the starter model (npm test fetches it) and llama.cpp (.ci/run installs it).');
const PROMPT = 64;
const files = await openModel(found.starter);
const ids = files.tokenizer.encode('The quick brown fox jumps over the lazy dog. '.repeat(PROMPT)).slice(0, PROMPT);

/** Seconds that `rows` texts take for `tokens` tokens each, their prompts not counted. */
async function fettle(base: BaseModel, rows: number): Promise<number> {
  const batch = base.batchGenerator(rows);
  const alone = base.generator();
  const decoders: Decoder[] = rows === 1 ? [alone] : Array.from({ length: rows }, () => batch.open());
  const last: number[] = [];
  for (const decoder of decoders) last.push(argmax(await decoder.prefill(ids)));
  // One step first: a program is compiled for each number of rows.
  const step = async (decoder: Decoder, i: number): Promise<void> =>
    void (last[i] = argmax(await decoder.step(last[i]!)));
  await Promise.all(decoders.map(step));
  const began = performance.now();
  for (let n = 0; n < tokens; n++) await Promise.all(decoders.map(step));
  const seconds = (performance.now() - began) / 1000;
  for (const decoder of decoders) await decoder.release();
  await batch.release();
  return seconds;
}

const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-generate-'));
try {
  const gguf = join(folder, 'model.gguf');
  await writeModelGguf(gguf, files, 'q8_0', { name: 'SmolLM2', license: null });
  const rounding = await measureRounding(files.config, files.weights, { threads, precision: 'int8' }, [
    { ids: Int32Array.from(ids), loss: new Uint8Array(PROMPT) },
  ]);
  const bases = {
    fp32: await loadBase(files.config, files.weights, { threads }),
    fp16: await loadBase(files.config, files.weights, { threads, precision: 'fp16' }),
    int8: await loadBase(files.config, files.weights, { threads, precision: 'int8', rounding }),
  };
  const sides: { name: string; rows: number; run: () => Promise<number> | number; rates: number[] }[] = [
    {
      name: 'llama.cpp q8_0',
      rows: 1,
      run: () =>
        Number(
          execFileSync(
            process.execPath,
            [join(found.llamaCpp!, 'speed.mjs'), gguf, String(tokens), String(threads), ids.join()],
            { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env: othersEnv() },
          ),
        ),
      rates: [],
    },
    ...Object.entries(bases).flatMap(([precision, base]) =>
      options.rows
        .split(',')
        .map(Number)
        .map((rows) => ({
          name: `Fettle ${precision}`,
          rows,
          run: () => fettle(base, rows),
          rates: [],
        })),
    ),
  ];
  for (let round = 0; round < rounds; round++)
    for (const side of sides) side.rates.push((side.rows * tokens) / (await side.run()));
  const reference = sides[0]!.rates;
  const results = sides.map(({ name, rows, rates }) => ({
    name,
    rows,
    tokensPerSecond: median(rates),
    ofLlamaCpp: ratios(rates, reference).median,
  }));
  for (const { name, rows, tokensPerSecond, ofLlamaCpp } of results)
    console.log(
      `  ${name.padEnd(16)} ${String(rows).padStart(2)} at a time  ${tokensPerSecond.toFixed(1).padStart(6)} tok/s  ${ofLlamaCpp.toFixed(2)} of llama.cpp`,
    );
  console.log(JSON.stringify({ benchmark: 'generate', cpu: cpus()[0]?.model ?? 'unknown', threads, tokens, results }));
  for (const base of Object.values(bases)) await base.release();
  await files.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
