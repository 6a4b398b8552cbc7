/**
 * @file What was made of a base once, kept for the runs after it: what it is rounded by, and its weights in fewer bits. A
 * file's name says all that its numbers hang on, so that a run has the same bits with it and without. It may be missing
 * or damaged at any time: then it is made again.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, utimes } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Tensor } from 'onnxruntime-node';
import { z } from 'zod';
import type { Quantised } from '../../contract/recipe.ts';
import { freeBytes, keepNewest } from '../../formats/disk.ts';
import {
  openSafetensors,
  writeSafetensors,
  type IntegersToWrite,
  type SafetensorsFile,
  type TensorToWrite,
} from '../../formats/safetensors.ts';
import type { BaseWeights } from '../model/weights.ts';
import { sharedBytes, sharedFloats } from '../segments/mapped.ts';
import { weightTensor, type Tensors } from '../segments/session.ts';
import { FETTLE_VERSION, runtimeVersion } from '../version.ts';
import type { Rounding } from './freeze.ts';
import { readRounding, roundingTensors } from './stored.ts';

/** Raised with every change of how weights are rounded or files laid out (prepared.test.ts holds the rounding to it). */
export const PREPARED_VERSION = 2;

const LIMITS = {
  /** Of all models of a home; what was not used for longest goes first. */
  bytes: 8e9,
  /** Of the room that is free on the disk, for one file: runs need it more. */
  ofFree: 0.1,
};

/** How far it is, in a run's log. */
const TOLD_EVERY_MS = 15_000;

export interface PreparedAt {
  /** Of all models. */
  readonly folder: string;
  /** The model's own folder in it. */
  readonly name: string;
  /** Of the model's files. */
  readonly hash: string;
}

type Stored = Omit<TensorToWrite | IntegersToWrite, 'data'> & { readonly data: Float32Array | Int8Array | Uint8Array };
type Numbers = ReadonlyMap<string, Stored>;

export class Prepared {
  readonly #at: PreparedAt | null;
  readonly #tell: (stage: string) => void;
  readonly #limits: typeof LIMITS;
  #seconds = 0;

  /**
   * @param at null where the weights are not those of the model's files, so that nothing of them is kept.
   * @param tell is told what has to be made.
   */
  constructor(at: PreparedAt | null, tell: (stage: string) => void = () => undefined, limits = LIMITS) {
    this.#at = at;
    this.#tell = tell;
    this.#limits = limits;
  }

  /** That went into what was not there before and is kept now. */
  get seconds(): number {
    return this.#seconds;
  }

  /** @param rows that are looked at. */
  rounding(rows: readonly Int32Array[], threads: number, make: () => Promise<Rounding>): Promise<Rounding> {
    return this.#get('rounding', [measuredBy(threads), rows.map((ids) => [...ids])], {
      stage: 'Measuring what int8 must know of this model',
      make,
      write: (rounding) => stored(roundingTensors(rounding) as Stored[]),
      read: (numbers) =>
        readRounding({
          names: [...numbers.keys()],
          info: (name) => ({ shape: numbers.get(name)!.shape, storage: 'F32' }),
          read: async (name) => numbers.get(name)!.data as Float32Array,
        }),
    });
  }

  /** @param rounding what the weights are rounded by. @param make gives them in memory that threads share, and tells how far it is. */
  weights(
    precision: Quantised,
    rounding: Rounding,
    threads: number,
    make: (tell: (done: string) => void) => Promise<BaseWeights>,
  ): Promise<BaseWeights> {
    // What was seen of the rows decides in int8; int4 sees them now.
    const by = precision === 'int4' ? rounding : { ...rounding, rows: [] };
    const hash = createHash('sha256');
    for (const { name, data } of roundingTensors(by) as Stored[]) hash.update(`${name} `).update(bytesOf(data));
    const stage = `Rounding the model to ${precision.replace('int', '')} bits`;
    return this.#get('weights', [precision, hash.digest('hex'), precision === 'int4' ? measuredBy(threads) : []], {
      stage,
      make: () => {
        let last = performance.now();
        return make((done) => {
          const now = performance.now();
          if (now - last < TOLD_EVERY_MS) return;
          last = now;
          this.#tell(`${stage}, ${done}`);
        });
      },
      write: weightNumbers,
      read: async (numbers) => weightsFrom(numbers),
    });
  }

  /** @param key what decides the numbers, beside the model and this program. */
  async #get<T>(
    kind: 'rounding' | 'weights',
    key: readonly unknown[],
    {
      stage,
      make,
      write,
      read,
    }: {
      readonly stage: string;
      readonly make: () => Promise<T>;
      readonly write: (made: T) => Numbers;
      readonly read: (numbers: Numbers) => Promise<T>;
    },
  ): Promise<T> {
    const at = this.#at;
    if (!at) {
      this.#tell(stage);
      return make();
    }
    const about = [PREPARED_VERSION, FETTLE_VERSION, process.versions.node, at.hash, ...key];
    const name = createHash('sha256').update(JSON.stringify(about)).digest('hex').slice(0, 32);
    const path = join(at.folder, at.name, `${kind}-${name}.safetensors`);
    const found = await readChecked(path);
    if (found) return read(found);
    this.#tell(stage);
    const begun = performance.now();
    const made = await make();
    if (await writeChecked(at, path, write(made), this.#limits)) this.#seconds += (performance.now() - begun) / 1000;
    return made;
  }
}

/** Of what is measured with float32 products: their last bits may differ by processor and threads. */
const measuredBy = (threads: number): unknown => [cpus()[0]?.model ?? process.arch, threads, runtimeVersion()];

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const stored = (list: readonly Stored[]): Numbers => new Map(list.map((each) => [each.name, each]));

/** Of a tensor with what it is called. */
const checksum = ({ name, shape, data }: Stored): number =>
  crc32(bytesOf(data), crc32(JSON.stringify([name, shape, data.constructor.name])));

const Checksums = z.record(z.string(), z.int());

/** Undefined where there is none, or anything is wrong with it: whatever that is, it is made again. */
async function readChecked(path: string): Promise<Numbers | undefined> {
  let file: SafetensorsFile | undefined;
  try {
    file = await openSafetensors(path);
    const checksums = Checksums.parse(JSON.parse(file.metadata['checksums'] ?? ''));
    const names = Object.keys(checksums);
    if (names.length !== file.names.length) return undefined;
    const list = await Promise.all(
      names.map(async (name): Promise<Stored | undefined> => {
        const each = { name, ...space(file!.info(name)) };
        await file!.readInto(name, bytesOf(each.data));
        return checksum(each) === checksums[name] ? each : undefined;
      }),
    );
    if (list.includes(undefined)) return undefined;
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined);
    return stored(list as Stored[]);
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}

/** Memory that threads share, for a tensor as it is stored. */
function space({ shape, storage }: ReturnType<SafetensorsFile['info']>): Pick<Stored, 'shape' | 'data'> {
  const size = shape.reduce((product, each) => product * each, 1);
  if (storage === 'F32') return { shape, data: sharedFloats(size) };
  const memory = sharedBytes(size);
  return { shape, data: storage === 'I8' ? new Int8Array(memory, 0, size) : new Uint8Array(memory, 0, size) };
}

/** @returns whether it is kept: what the disk has little room for is not, nor what could not be written. */
async function writeChecked(
  { folder, name }: PreparedAt,
  path: string,
  numbers: Numbers,
  limits: typeof LIMITS,
): Promise<boolean> {
  const list = [...numbers.values()];
  const bytes = list.reduce((sum, { data }) => sum + data.byteLength, 0);
  try {
    await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
    if (bytes > Math.min(limits.bytes, (await freeBytes(folder)) * limits.ofFree)) return false;
    const files = (await readdir(folder, { withFileTypes: true, recursive: true })).filter((each) => each.isFile());
    const paths = files.map(({ parentPath, name: file }) => join(parentPath, file));
    await keepNewest(paths, limits.bytes - bytes);
    const checksums = Object.fromEntries(list.map((each) => [each.name, checksum(each)]));
    const metadata = { checksums: JSON.stringify(checksums) };
    await writeSafetensors(path, list as (TensorToWrite | IntegersToWrite)[], { metadata, flushed: false });
    return true;
  } catch {
    return false;
  }
}

const OUTER = ['embedding', 'final', 'head'] as const;

/** By record and input name. A tensor that two records share is stored once: under the first, with the other's names after it. */
function weightNumbers(weights: BaseWeights): Numbers {
  const names = new Map<Tensor, string[]>();
  const see = (record: string, tensors: Tensors): void => {
    for (const [name, tensor] of Object.entries(tensors))
      names.set(tensor, [...(names.get(tensor) ?? []), `${record}/${name}`]);
  };
  for (const record of OUTER) see(record, weights[record]);
  weights.layers.forEach((tensors, layer) => see(String(layer), tensors));
  return stored(
    [...names].map(([{ dims, data }, called]) => ({
      name: called.join(' '),
      shape: dims,
      data: data as Stored['data'],
    })),
  );
}

function weightsFrom(numbers: Numbers): BaseWeights {
  const records = new Map<string, Record<string, Tensor>>();
  for (const [names, { shape, data }] of numbers) {
    const type = data instanceof Float32Array ? 'float32' : data instanceof Int8Array ? 'int8' : 'uint8';
    const tensor = weightTensor(type, data, shape);
    for (const called of names.split(' ')) {
      const [record, name] = called.split('/', 2) as [string, string];
      const known = records.get(record);
      if (known) known[name] = tensor;
      else records.set(record, { [name]: tensor });
    }
  }
  const { length } = [...records.keys()].filter((record) => /^\d+$/.test(record));
  return {
    embedding: records.get('embedding')!,
    final: records.get('final')!,
    head: records.get('head')!,
    layers: Array.from({ length }, (_, layer) => records.get(String(layer))!),
  };
}
