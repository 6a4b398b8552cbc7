/** @file Checkpoints: everything that a run needs to go on as if it had never stopped, in one folder each. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../../contract/errors.ts';
import { ADAPTER_CONFIG_FILE, ADAPTER_FILE, PEFT_PREFIX } from '../../formats/peft.ts';
import { WHOLE_FILE } from '../../formats/tuned.ts';
import { openSafetensors, safetensorsBytes, writeSafetensors, type TensorToWrite } from '../../formats/safetensors.ts';
import { fromFile, inFile, shapeInFile } from '../model/parameters.ts';
import type { Rounding } from '../quantise/freeze.ts';
import { readRounding, roundingTensors } from '../quantise/stored.ts';
import type { Optimizer, ParameterSet } from '../types.ts';
import { removeFolder, verifyFolder, writeFolder } from './durable.ts';

/** File of the trained weights, and what stands before their names in it. */
const weightsFile = ({ whole = false }: Pick<ParameterSet, 'whole'>): { file: string; prefix: string } =>
  whole ? { file: WHOLE_FILE, prefix: '' } : { file: ADAPTER_FILE, prefix: PEFT_PREFIX };
type Entry = ParameterSet['entries'][number];
/** Names of an entry's two moments, as PyTorch calls them. */
const moments = ({ name }: Entry): [string, string] => [`${name}.exp_avg`, `${name}.exp_avg_sq`];
const OPTIMIZER_FILE = 'optimizer.safetensors';
/** What a base in fewer bits was rounded by. */
const ROUNDING_FILE = 'rounding.safetensors';
const STATE_FILE = 'state.json';

const HeldOut = z.strictObject({ step: z.int(), loss: z.number() });

/**
 * Where a run stands. The random order of the data is a function of (seed, epoch), so `step` alone is the state of
 * every random choice; `position` says where that is, for people.
 */
export const TrainingState = z.strictObject({
  version: z.literal(1),
  run: z.string(),
  /** Optimiser steps done. */
  step: z.int(),
  /** Steps that the schedule was made for. */
  steps: z.int(),
  /** Where the next step's data lie. */
  position: z.strictObject({ epoch: z.int(), index: z.int() }),
  tokens: z.int(),
  labelledTokens: z.int(),
  /** Of work in all, pauses not counted. */
  seconds: z.number(),
  /** Of optimiser steps alone, evaluations and checkpoints not counted. */
  stepSeconds: z.number(),
  peakMemoryBytes: z.int(),
  /** The newest held-out evaluation. */
  heldOut: HeldOut.nullable(),
  /** The held-out loss before the first step. */
  heldOutStart: z.number().nullable(),
  best: HeldOut.nullable(),
  /** Evaluations in a row that were no better than the best. */
  evaluationsWithoutGain: z.int(),
  /** SHA-256 over what decides the numbers: recipe without its length and reporting, data. */
  recipeHash: z.string(),
  dataHash: z.string(),
  /** What else decides the last bits: threads, CPU, versions. */
  environment: z.record(z.string(), z.union([z.string(), z.number()])),
});
export type TrainingState = z.infer<typeof TrainingState>;

export interface Checkpoint {
  /** Folder name, e.g. `step-000120`. */
  readonly name: string;
  readonly path: string;
  readonly step: number;
  /** Measured at this very step, else null. */
  readonly heldOutLoss: number | null;
  readonly bytes: number;
  readonly state: TrainingState;
}

export const checkpointName = (step: number): string => `step-${String(step).padStart(6, '0')}`;

export interface CheckpointExtras {
  /** PEFT's adapter_config.json; with it the folder is an adapter that PEFT loads. */
  readonly adapterConfig?: Readonly<Record<string, unknown>> | undefined;
  /** What a base in fewer bits was rounded by: without it the run cannot go on with the same bits. */
  readonly rounding?: Rounding | undefined;
}

/**
 * Writes one checkpoint, whole or not at all.
 * Throws DISK_FULL; then nothing is left behind and earlier checkpoints stand.
 */
export async function saveCheckpoint(
  folder: string,
  state: TrainingState,
  parameters: ParameterSet,
  optimizer: Optimizer,
  { adapterConfig, rounding }: CheckpointExtras = {},
): Promise<Checkpoint> {
  const name = checkpointName(state.step);
  const view = (flat: Float32Array, { offset, size }: { offset: number; size: number }): Float32Array =>
    flat.subarray(offset, offset + size);
  const { entries, values } = parameters;
  const { file, prefix } = weightsFile(parameters);
  await mkdir(folder, { recursive: true });
  const bytes = await writeFolder(folder, name, async (path) => {
    const tensor = (name: string, entry: ParameterSet['entries'][number], flat: Float32Array): TensorToWrite => ({
      name,
      shape: shapeInFile(entry),
      data: inFile(entry, view(flat, entry)),
    });
    await writeSafetensors(
      join(path, file),
      entries.map((entry) => tensor(prefix + entry.name, entry, values)),
    );
    await writeSafetensors(
      join(path, OPTIMIZER_FILE),
      entries.flatMap((entry) => {
        const [first, second] = moments(entry);
        return [tensor(first, entry, optimizer.first), tensor(second, entry, optimizer.second)];
      }),
    );
    if (rounding) await writeSafetensors(join(path, ROUNDING_FILE), roundingTensors(rounding));
    await writeFile(join(path, STATE_FILE), JSON.stringify({ ...state, optimizerSteps: optimizer.steps }));
    if (adapterConfig) await writeFile(join(path, ADAPTER_CONFIG_FILE), JSON.stringify(adapterConfig, null, 2));
  });
  return describe(folder, name, state, bytes);
}

/** Bytes of a checkpoint's tensors, to the last one; state, manifest and adapter_config.json come besides, some kilobytes. */
export function checkpointTensorBytes(
  parameters: Pick<ParameterSet, 'entries' | 'whole'>,
  rounding: Rounding | undefined,
): number {
  const { prefix } = weightsFile(parameters);
  const named = (name: string, entry: Entry): Pick<TensorToWrite, 'name' | 'shape'> => ({
    name,
    shape: shapeInFile(entry),
  });
  const { entries } = parameters;
  return (
    safetensorsBytes(entries.map((entry) => named(prefix + entry.name, entry))) +
    safetensorsBytes(entries.flatMap((entry) => moments(entry).map((name) => named(name, entry)))) +
    (rounding ? safetensorsBytes(roundingTensors(rounding)) : 0)
  );
}

const describe = (folder: string, name: string, state: TrainingState, bytes: number): Checkpoint => ({
  name,
  path: join(folder, name),
  step: state.step,
  heldOutLoss: state.heldOut?.step === state.step ? state.heldOut.loss : null,
  bytes,
  state,
});

/** Checkpoints of a folder by step, and those that are damaged, by name. `deep` compares hashes too, not only sizes. */
export async function listCheckpoints(
  folder: string,
  { deep = false }: { readonly deep?: boolean } = {},
): Promise<{ readonly checkpoints: Checkpoint[]; readonly damaged: { name: string; error: FettleError }[] }> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^step-\d+$/.test(name));
  const checkpoints: Checkpoint[] = [];
  const damaged: { name: string; error: FettleError }[] = [];
  for (const name of names) {
    try {
      const bytes = await verifyFolder(join(folder, name), deep);
      checkpoints.push(describe(folder, name, await readState(join(folder, name)), bytes));
    } catch (error) {
      if (!(error instanceof FettleError)) throw error;
      damaged.push({ name, error });
    }
  }
  checkpoints.sort((a, b) => a.step - b.step);
  return { checkpoints, damaged };
}

const StoredState = TrainingState.extend({ optimizerSteps: z.int() });

async function readStored(path: string): Promise<z.infer<typeof StoredState>> {
  try {
    return StoredState.parse(JSON.parse(await readFile(join(path, STATE_FILE), 'utf8')));
  } catch (error) {
    throw new FettleError('CHECKPOINT_INVALID', `The checkpoint ${path} has no readable state.`, undefined, {
      cause: error,
    });
  }
}

async function readState(path: string): Promise<TrainingState> {
  const { optimizerSteps: _, ...state } = await readStored(path);
  return state;
}

/** Of the checkpoints of a folder the one with the lowest held-out loss; where nothing was measured, the last. Undefined where there is none. */
export function bestOnDisk(checkpoints: readonly Checkpoint[]): Checkpoint | undefined {
  const last = checkpoints.at(-1);
  return checkpoints.find((it) => it.step === last?.state.best?.step) ?? last;
}

/** Trained weights of a checkpoint into a parameter set. Throws CHECKPOINT_INVALID where names or shapes differ. */
export async function loadWeights(path: string, parameters: ParameterSet): Promise<void> {
  const { file, prefix } = weightsFile(parameters);
  await readInto(join(path, file), parameters, [[(name) => prefix + name, parameters.values]]);
}

/** Optimiser state of a checkpoint. Throws CHECKPOINT_INVALID where names or shapes differ. */
export async function loadOptimizer(path: string, parameters: ParameterSet, optimizer: Optimizer): Promise<void> {
  const first = new Float32Array(parameters.values.length);
  const second = new Float32Array(parameters.values.length);
  await readInto(join(path, OPTIMIZER_FILE), parameters, [
    [(name) => `${name}.exp_avg`, first],
    [(name) => `${name}.exp_avg_sq`, second],
  ]);
  optimizer.restore(first, second, (await readStored(path)).optimizerSteps);
}

/**
 * What the runs of this folder rounded their base by, from the newest whole checkpoint; undefined where there is none, or
 * it is from before int4 looked at rows: one that looks at none would be worse than what the adapter was trained on.
 */
export async function savedRounding(folder: string): Promise<Rounding | undefined> {
  const { checkpoints } = await listCheckpoints(folder, { deep: true });
  const path = checkpoints.at(-1)?.path;
  if (path === undefined || !existsSync(join(path, ROUNDING_FILE))) return undefined;
  const source = await openSafetensors(join(path, ROUNDING_FILE));
  try {
    const rounding = await readRounding(source);
    return rounding.rows.length > 0 ? rounding : undefined;
  } finally {
    await source.close();
  }
}

async function readInto(
  path: string,
  { entries }: ParameterSet,
  targets: readonly (readonly [(name: string) => string, Float32Array])[],
): Promise<void> {
  const source = await openSafetensors(path);
  try {
    const known = new Set(source.names);
    if (known.size !== entries.length * targets.length) throw otherModel(path);
    for (const entry of entries)
      for (const [named, flat] of targets) {
        const name = named(entry.name);
        if (!known.has(name) || source.info(name).shape.join() !== shapeInFile(entry).join()) throw otherModel(path);
        flat.set(fromFile(entry, await source.read(name)), entry.offset);
      }
  } finally {
    await source.close();
  }
}

const otherModel = (path: string): FettleError =>
  new FettleError('CHECKPOINT_INVALID', `${path} belongs to another model, or to other rank or target modules.`);

/**
 * The keeping rule: the best, the last, those of `held` (another run lies over them), and the `others` newest stay.
 * @returns the names of those removed.
 */
export async function pruneCheckpoints(
  folder: string,
  others: number,
  held: readonly string[] = [],
): Promise<string[]> {
  const { checkpoints } = await listCheckpoints(folder);
  const spared = new Set([bestOnDisk(checkpoints)?.name, checkpoints.at(-1)?.name, ...held]);
  const rest = checkpoints.filter(({ name }) => !spared.has(name));
  const removed = rest.slice(0, Math.max(0, rest.length - others)).map(({ name }) => name);
  for (const name of removed) await removeFolder(folder, name);
  return removed;
}
