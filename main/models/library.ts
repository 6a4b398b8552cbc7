/** @file Bringing a model into the library. Pure work on files: knows no database, runs in a child process. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { bytes as inWords } from '../contract/bytes.ts';
import type { Model } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { checkWeights, modulesOf, readSpec } from '../engine/index.ts';
import { freeBytes } from '../formats/disk.ts';
import type { HfConfig } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';

/** What is written down of a model: contract's Model without what the row and the machine add. */
export type ModelFacts = Omit<Model, 'id' | 'name' | 'hash' | 'memory' | 'addedAt'> & {
  /** What the engine reads its sizes from. */
  readonly config: HfConfig;
};
export interface AddedModel {
  /** Name as the files state it, or as the path does. */
  readonly name: string;
  readonly hash: string;
  readonly facts: ModelFacts;
  /** File name within the model's folder that openModel takes; '' for the folder itself. */
  readonly entry: string;
}

/** What belongs to a Hugging Face model; weights in pickles are never taken. */
const HF_FILE =
  /^(config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|chat_template\.jinja|README\.md|LICENSE[^/]*|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;
const RESERVE_BYTES = 64 * 2 ** 20;

/**
 * Checks a folder or GGUF file, copies it to `target` (made anew, whole or not at all) and describes it.
 * @throws MODEL_UNSUPPORTED, MODEL_INCOMPLETE, FORMAT_*, FILE_*, DISK_FULL.
 */
export async function addToLibrary(
  source: string,
  target: string,
  report: (stage: string, share: number | null) => void,
  signal: AbortSignal,
): Promise<AddedModel> {
  report('Looking at the model', null);
  const facts = await describe(source);
  const folder = (await stat(source)).isDirectory();
  const files = folder ? (await readdir(source)).filter((name) => HF_FILE.test(name)).sort() : [basename(source)];
  const paths = files.map((name) => ({ name, from: folder ? join(source, name) : source }));
  const sizes = await Promise.all(paths.map(async ({ from }) => (await stat(from)).size));
  const total = sizes.reduce((a, b) => a + b, 0);

  const temporary = `${target}.adding`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    const free = await freeBytes(temporary);
    if (free < total + RESERVE_BYTES)
      throw new FettleError(
        'DISK_FULL',
        `The model needs ${inWords(total)}, the disk has ${inWords(free)} left.`,
        'Free some space, or choose another home folder.',
      );
    const hash = createHash('sha256');
    let copied = 0;
    for (const { name, from } of paths) {
      // Each file's own digest goes into the model's, so that the order of reading does not matter.
      const digest = await copy(from, join(temporary, name), signal, (bytes) => {
        copied += bytes;
        report('Copying into the library', copied / total);
      });
      hash.update(`${name}\0${digest}\n`);
    }
    // A folder of that name which the library does not know was left by a crash between copying and noting it down.
    await rm(target, { recursive: true, force: true });
    await rename(temporary, target);
    return { name: facts.name, hash: hash.digest('hex'), facts: facts.facts, entry: folder ? '' : files[0]! };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw signal.aborted
      ? new FettleError('CANCELLED', 'Adding the model was cancelled.', 'Nothing was kept.')
      : toFettleError(error);
  }
}

async function describe(source: string): Promise<{ name: string; facts: ModelFacts }> {
  const model = await openModel(source);
  try {
    // Refuses by name what the engine cannot train, before anything is copied.
    const spec = readSpec(model.config);
    checkWeights(spec, model.weights);
    const storage = new Map<string, number>();
    let parameters = 0;
    for (const name of model.weights.names) {
      const info = model.weights.info(name);
      const count = info.shape.reduce((a, b) => a * b, 1);
      parameters += count;
      storage.set(info.storage, (storage.get(info.storage) ?? 0) + count);
    }
    const mostly = [...storage].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'F32';
    return {
      name: model.name ?? basename(source).replace(/\.gguf$/i, ''),
      facts: {
        format: model.format,
        config: model.config,
        architecture: spec.architecture,
        parameters,
        layers: spec.layers,
        hiddenSize: spec.hidden,
        vocabSize: spec.vocab,
        modules: modulesOf(spec),
        contextLength: spec.maxPositions,
        bytes: model.bytes,
        storage: mostly,
        license: model.license,
        kind: { value: model.kind.value, evidence: [...model.kind.evidence] },
        hasChatTemplate: model.chatTemplate !== null,
      },
    };
  } finally {
    await model.close();
  }
}

async function copy(from: string, to: string, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  const handle = await open(to, 'wx');
  try {
    for await (const chunk of createReadStream(from, { highWaterMark: 4 << 20, signal }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      await handle.writeFile(chunk);
      onBytes(chunk.length);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}
