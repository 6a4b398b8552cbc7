/**
 * @file `npm run bench:import`: brings in a JSONL file made here, looks it through, counts its tokens, and opens pages of it,
 * each in a process of its own, as the product does. Prints rates and peak memory, and JSON as the last line.
 * Options: --megabytes N (1000), --rows N (of a second version that is only paged through, 10,000,000), --json (JSON alone).
 */
import { fork } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rowsPage } from '../../main/datasets/pages.ts';
import { VersionWriter } from '../../main/datasets/version.ts';
import type { ImportedVersion } from '../../main/datasets/import.ts';
import type { DataJob } from '../../main/workers/data.ts';
import { Random } from '../../main/engine/random.ts';
import { found } from '../support/needs.ts';
import { readOptions } from './options.ts';

const values = readOptions({ megabytes: 1000, rows: 10_000_000, json: false });
const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-'));
const say = (line: string): void => void (values.json || process.stdout.write(`${line}\n`));

/** A child of the product, with the most memory it had resident. */
async function work<T>(job: DataJob): Promise<{ result: T; seconds: number; peakBytes: number }> {
  const child = fork(join(import.meta.dirname, '../../main/workers/data.ts'), { serialization: 'json' });
  let peakBytes = 0;
  const watch = setInterval(() => {
    const status = `/proc/${child.pid}/status`;
    const peak = existsSync(status) ? /VmHWM:\s+(\d+)/.exec(readFileSync(status, 'utf8'))?.[1] : undefined;
    if (peak) peakBytes = Number(peak) * 1024;
  }, 50);
  const started = performance.now();
  try {
    const result = await new Promise<T>((resolve, reject) => {
      child.on('message', (message: { type: string; result?: T; error?: unknown }) => {
        if (message.type === 'ready') child.send({ type: 'start', job });
        if (message.type === 'done') resolve(message.result as T);
        if (message.type === 'failed') reject(new Error(JSON.stringify(message.error)));
      });
      child.on('exit', () => reject(new Error('the child ended')));
    });
    return { result, seconds: (performance.now() - started) / 1000, peakBytes };
  } finally {
    clearInterval(watch);
    child.kill();
  }
}

/** Pairs of made-up sentences, about 320 bytes a row; one in fifty is nearly the same as the one before. */
function writeRows(path: string, bytes: number): void {
  const random = new Random(1);
  const words = Array.from({ length: 8000 }, (_, i) => `w${i.toString(36)}`);
  const sentence = (n: number): string => Array.from({ length: n }, () => words[random.int(words.length)]).join(' ');
  const fd = openSync(path, 'w');
  let last = '';
  for (let size = 0, i = 0; size < bytes;) {
    let block = '';
    for (let k = 0; k < 2000; k++, i++) {
      const row =
        i % 50 === 49
          ? last.replace('"response":"', '"response":"so ')
          : JSON.stringify({ instruction: sentence(14), response: sentence(38) });
      last = row;
      block += `${row}\n`;
    }
    size += writeSync(fd, block);
  }
  closeSync(fd);
}

try {
  const path = join(folder, 'rows.jsonl');
  writeRows(path, values.megabytes * 1e6);
  const size = statSync(path).size;
  say(`${(size / 1e6).toFixed(0)} MB of JSONL`);
  const brought = await work<ImportedVersion[]>({ task: 'import', request: { paths: [path], heldOut: 0.1, folder } });
  const version = brought.result[0]!;
  const rows = join(folder, version.id, 'rows.jsonl');
  const rate = size / 1e6 / brought.seconds;
  say(
    `import       ${rate.toFixed(1)} MB/s, ${version.rows} rows in ${brought.seconds.toFixed(1)} s, peak ${(brought.peakBytes / 1e6).toFixed(0)} MB`,
  );
  const looked = await work({ task: 'inspect', rows });
  say(
    `looked over  ${(version.rows / looked.seconds).toFixed(0)} rows/s, near duplicates among it, peak ${(looked.peakBytes / 1e6).toFixed(0)} MB`,
  );
  // Tokenising is slower by far: a smaller file tells its rate.
  const small = join(folder, 'small.jsonl');
  writeRows(small, 20e6);
  const [few] = (await work<ImportedVersion[]>({ task: 'import', request: { paths: [small], heldOut: 0.1, folder } }))
    .result;
  const request = {
    rows: join(folder, few!.id, 'rows.jsonl'),
    model: found.starter ?? '',
    file: join(folder, 'tokens.bin'),
  };
  const counted = found.starter ? await work({ task: 'tokens', request }) : null;
  if (counted)
    say(
      `tokens       ${(few!.rows / counted.seconds).toFixed(0)} rows/s, peak ${(counted.peakBytes / 1e6).toFixed(0)} MB`,
    );

  const writer = new VersionWriter(folder, 'pages');
  for (let i = 0; i < values.rows; i++) writer.add({ source: 'b', text: `row number ${i}` });
  const many = join(folder, writer.finish(0.1).id, 'rows.jsonl');
  const times: number[] = [];
  for (const offset of [0, 0.25, 0.5, 0.75, 0.999].map((share) => Math.floor(share * values.rows))) {
    const started = performance.now();
    const page = await rowsPage(many, { offset, limit: 50 });
    times.push(performance.now() - started);
    if (page.rows[0]?.index !== offset) throw new Error('another row came');
  }
  say(`a page of ${values.rows} rows: ${times.map((ms) => `${ms.toFixed(0)} ms`).join(', ')}`);
  process.stdout.write(
    `${JSON.stringify({
      importMegabytesPerSecond: rate,
      importPeakBytes: brought.peakBytes,
      rows: version.rows,
      inspectRowsPerSecond: version.rows / looked.seconds,
      inspectPeakBytes: looked.peakBytes,
      tokenRowsPerSecond: counted && few!.rows / counted.seconds,
      pageMilliseconds: times,
    })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
