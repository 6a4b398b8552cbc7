/** @file What a run takes: steps, memory, disk, time; and what would make it fit. */
import { bytes as inWords } from '../contract/bytes.ts';
import type { Estimate } from '../contract/entities.ts';
import type { Recipe } from '../contract/recipe.ts';
import { withRehearsal, type DataSize } from './data.ts';
import { trainedParameters, trainingMemory, type ModelSize } from './memory.ts';

/** Rows a pass takes: packed rows fill to about nine tenths, since an example is not divided between two. */
const PACKED_FILL = 0.9;

export function packedRows(data: DataSize, maxLength: number, packing: boolean): number {
  if (data.prose) return Math.max(1, Math.ceil(data.trainTokens / maxLength));
  if (!packing) return Math.max(1, data.trainRows);
  const rows = Math.ceil(data.trainTokens / (maxLength * PACKED_FILL));
  return Math.max(1, Math.min(rows, data.trainRows));
}

export function stepsOf(
  recipe: Pick<Recipe, 'epochs' | 'batchSize' | 'gradientAccumulation' | 'maxSteps'>,
  rows: number,
): number {
  if (recipe.maxSteps !== undefined) return recipe.maxSteps;
  return Math.max(1, Math.ceil(recipe.epochs * Math.ceil(rows / (recipe.batchSize * recipe.gradientAccumulation))));
}

/** Tokens a second by precision, where a run in it was measured. */
export type Pace = Readonly<Partial<Record<Recipe['precision'], number>>>;

export interface Machine {
  readonly freeMemoryBytes: number;
  readonly freeDiskBytes: number;
  /** Training tokens a second measured here with this model. */
  readonly tokensPerSecond: Pace;
}

export function estimate(recipe: Recipe, model: ModelSize, own: DataSize, machine: Machine): Estimate {
  const data = withRehearsal(own, recipe.rehearsal);
  const rows = packedRows(data, recipe.maxLength, recipe.packing);
  const steps = stepsOf(recipe, rows);
  const perPass = Math.max(1, Math.ceil(rows / (recipe.batchSize * recipe.gradientAccumulation)));
  const tokensPerStep = Math.round(data.trainTokens / perPass);
  const memoryBytes = trainingMemory(model, recipe);
  // Values and two moments of the optimiser in each checkpoint; the best and the last are kept beside the others.
  const diskBytes = Math.round(trainedParameters(model, recipe) * 4 * 3 * (recipe.keepCheckpoints + 3));
  const enoughDisk = diskBytes + RESERVE_BYTES <= machine.freeDiskBytes;
  const pace = machine.tokensPerSecond[recipe.precision];
  const looks = recipe.evalEvery === 0 ? 2 : 2 + Math.floor(steps / recipe.evalEvery);
  return {
    steps,
    tokensPerStep,
    rehearsalTokens: data.trainTokens - own.trainTokens,
    memoryBytes,
    freeMemoryBytes: machine.freeMemoryBytes,
    diskBytes,
    freeDiskBytes: machine.freeDiskBytes,
    // A look at the held-out rows is a forward pass alone, a third of the work.
    seconds: pace === undefined ? null : (steps * tokensPerStep + (looks * data.heldOutTokens) / 3) / pace,
    fits: memoryBytes <= machine.freeMemoryBytes && enoughDisk,
    suggestions: [
      ...(memoryBytes <= machine.freeMemoryBytes ? [] : memorySuggestions(recipe, model, machine.freeMemoryBytes)),
      ...(enoughDisk ? [] : [`Free ${inWords(diskBytes + RESERVE_BYTES - machine.freeDiskBytes)} on the disk.`]),
    ],
  };
}

/** Room that is left on the disk for everything else. */
const RESERVE_BYTES = 100e6;

function memorySuggestions(recipe: Recipe, model: ModelSize, free: number): string[] {
  const tries: [string, Partial<Recipe>][] = [];
  if (recipe.method === 'full')
    tries.push(['Train an adapter in place of all weights (method lora)', { method: 'lora' }]);
  if (!recipe.activationCheckpointing)
    tries.push(['Set activationCheckpointing to true', { activationCheckpointing: true }]);
  for (let length = recipe.maxLength / 2; length >= 128; length /= 2)
    tries.push([`Set maxLength to ${Math.floor(length)}`, { maxLength: Math.floor(length) }]);
  if (recipe.precision !== 'int4' && recipe.method === 'lora' && !recipe.useDora && recipe.modulesToSave.length === 0)
    tries.push(['Set precision to int4', { precision: 'int4' }]);
  if (recipe.batchSize > 1) tries.push(['Set batchSize to 1', { batchSize: 1 }]);
  if (recipe.rank > 8) tries.push(['Set rank to 8', { rank: 8 }]);
  tries.push(['Set maxLength to 128, batchSize to 1 and rank to 8', { maxLength: 128, batchSize: 1, rank: 8 }]);
  const fitting = tries
    .map(([words, change]) => ({ words, bytes: trainingMemory(model, { ...recipe, ...change }) }))
    .filter(({ bytes }) => bytes <= free)
    .slice(0, 2)
    .map(({ words, bytes }) => `${words}: it then takes about ${inWords(bytes)}.`);
  const short = trainingMemory(model, recipe) - free;
  return [
    ...fitting,
    `Close other programs: about ${inWords(short)} more free memory is needed.`,
    ...(fitting.length === 0 ? ['Choose a smaller model.'] : []),
  ];
}
