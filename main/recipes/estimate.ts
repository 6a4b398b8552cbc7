/** @file What a run takes: steps, memory, disk, time; and what would make it fit. */
import { bytes as inWords } from '../contract/bytes.ts';
import type { Estimate } from '../contract/entities.ts';
import type { Recipe } from '../contract/recipe.ts';
import { withRehearsal, type DataSize } from './data.ts';
import { diskBytes as checkpointsOnDisk, mostSaves } from './disk.ts';
import { needsExact, trainingMemory, type ModelSize } from './memory.ts';

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

/** Training tokens a second of a run with a model here, as alike as there is, and that run's id; null where none was. */
export type Pace = (recipe: Recipe) => { readonly tokensPerSecond: number; readonly run: string } | null;

/** What the first steps of a recipe took here, and what they told of its data. */
export interface Calibrated {
  /** That were measured, after one that was not. */
  readonly steps: number;
  readonly tokensPerSecond: number;
  /** From the start of the process until its first look, with what the first look and step take beyond others. */
  readonly startSeconds: number;
  /** A look at all held-out rows. */
  readonly lookSeconds: number;
  /** The text that is written after it. */
  readonly sampleSeconds: number;
  /** A checkpoint. */
  readonly saveSeconds: number;
  /** Of one pass, counted by the model's tokenizer. */
  readonly rows: number;
  readonly tokens: number;
}

export interface Machine {
  readonly threads: number;
  readonly freeMemoryBytes: number;
  readonly freeDiskBytes: number;
  readonly tokensPerSecond: Pace;
  /** Null where it was not measured. */
  readonly calibrated?: (recipe: Recipe) => Calibrated | null;
}

export function estimate(recipe: Recipe, model: ModelSize, own: DataSize, machine: Machine): Estimate {
  const data = withRehearsal(own, recipe.rehearsal);
  const measured = machine.calibrated?.(recipe) ?? null;
  const rows = measured?.rows ?? packedRows(data, recipe.maxLength, recipe.packing);
  const tokens = measured?.tokens ?? data.trainTokens;
  const steps = stepsOf(recipe, rows);
  const perPass = Math.max(1, Math.ceil(rows / (recipe.batchSize * recipe.gradientAccumulation)));
  const tokensPerStep = Math.round(tokens / perPass);
  const memoryBytes = trainingMemory(model, recipe, { threads: machine.threads, data });
  const diskBytes = checkpointsOnDisk(model, recipe, steps);
  const enoughDisk = fitsDisk({ diskBytes, freeDiskBytes: machine.freeDiskBytes });
  const pace = machine.tokensPerSecond(recipe);
  const looks = recipe.evalEvery === 0 ? 2 : 2 + Math.floor((steps - 1) / recipe.evalEvery);
  const time = measured
    ? {
        seconds:
          measured.startSeconds +
          (steps * tokensPerStep) / measured.tokensPerSecond +
          looks * (measured.lookSeconds + measured.sampleSeconds) +
          mostSaves(recipe, steps) * measured.saveSeconds,
        secondsFrom: 'calibration' as const,
        secondsWhy: `Measured here on ${measured.steps === 1 ? '1 step' : `${measured.steps} steps`} of this very recipe.`,
      }
    : pace
      ? {
          // A look at the held-out rows is a forward pass alone, a third of the work.
          seconds: (steps * tokensPerStep + (looks * data.heldOutTokens) / 3) / pace.tokensPerSecond,
          secondsFrom: 'run' as const,
          secondsWhy: `As fast as run ${pace.run} went.`,
        }
      : { seconds: null, secondsFrom: null, secondsWhy: 'Nothing like it has run here with this model yet.' };
  return {
    steps,
    tokensPerStep,
    rehearsalTokens: data.trainTokens - own.trainTokens,
    memoryBytes,
    freeMemoryBytes: machine.freeMemoryBytes,
    diskBytes,
    freeDiskBytes: machine.freeDiskBytes,
    ...time,
    fits: memoryBytes <= machine.freeMemoryBytes && enoughDisk,
    suggestions: [
      ...(memoryBytes <= machine.freeMemoryBytes ? [] : memorySuggestions(recipe, model, data, machine)),
      ...(enoughDisk
        ? []
        : [{ text: `Free ${inWords(diskBytes + RESERVE_BYTES - machine.freeDiskBytes)} on the disk.`, set: {} }]),
    ],
  };
}

type Suggestion = Estimate['suggestions'][number];

/** Room that is left on the disk for everything else. */
const RESERVE_BYTES = 100e6;
export const fitsDisk = ({ diskBytes, freeDiskBytes }: Pick<Estimate, 'diskBytes' | 'freeDiskBytes'>): boolean =>
  diskBytes + RESERVE_BYTES <= freeDiskBytes;

type Change = Partial<
  Pick<
    Recipe,
    | 'activationCheckpointing'
    | 'maxLength'
    | 'batchSize'
    | 'gradientAccumulation'
    | 'precision'
    | 'rank'
    | 'method'
    | 'modulesToSave'
  >
>;
interface Try {
  readonly text: string;
  readonly set: Change;
}
/** Lengths below which little of an example is left. */
const SHORTEST = 128;

/**
 * What takes less memory, by what it costs: time alone first, then exactness of what stands still, then what the run can
 * see and learn. Each by itself as far as it may fit alone; all of them together are the last word.
 */
function cheaper(recipe: Recipe): Try[] {
  const tries: Try[] = [];
  const plain = !needsExact(recipe);
  const exact = recipe.precision === 'fp32' || recipe.precision === 'auto';
  if (!recipe.activationCheckpointing)
    tries.push({
      text: 'Compute activations again instead of keeping them (activationCheckpointing), which takes about a third more time and changes no result',
      set: { activationCheckpointing: true },
    });
  if (recipe.batchSize > 1) {
    const gradientAccumulation = recipe.batchSize * recipe.gradientAccumulation;
    tries.push({
      text: `Take the rows of a batch one after the other (batchSize 1, gradientAccumulation ${gradientAccumulation}), which is slower and learns the same`,
      set: { batchSize: 1, gradientAccumulation },
    });
  }
  if (plain && (exact || recipe.precision === 'int8'))
    tries.push({
      text: `Keep the frozen model in 16 bits (precision fp16), ${exact ? 'hardly less exact and about as fast' : 'more exact, and slower'}`,
      set: { precision: 'fp16' },
    });
  if (plain && recipe.precision !== 'int4')
    tries.push({
      text: `Keep the frozen model in 4 bits (precision int4)${exact ? ', less exact, no faster, and slow to start the first time' : ''}`,
      set: { precision: 'int4' },
    });
  if (plain && exact)
    tries.push({ text: 'Keep the frozen model in 8 bits (precision int8)', set: { precision: 'int8' } });
  for (let length = Math.floor(recipe.maxLength / 2); length >= SHORTEST; length = Math.floor(length / 2))
    tries.push({ text: `Read shorter rows (maxLength ${length})`, set: { maxLength: length } });
  if (recipe.method === 'lora' && recipe.rank > 8)
    tries.push({ text: 'Train a smaller adapter (rank 8)', set: { rank: 8 } });
  if (recipe.modulesToSave.length > 0)
    tries.push({ text: 'Leave embedding and head as they are (modulesToSave none)', set: { modulesToSave: [] } });
  if (recipe.method === 'full')
    tries.push({ text: 'Train an adapter in place of all weights (method lora)', set: { method: 'lora' } });
  return tries;
}

/** Several changes as one, told one after the other. */
function together(tries: readonly Try[]): Try {
  const later = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
  return {
    text: tries.map(({ text }, i) => (i === 0 ? text : later(text))).join('; '),
    set: Object.assign({}, ...tries.map(({ set }) => set)) as Change,
  };
}

/** What makes it fit, each with its figure: single changes, else the fewest together, best first. */
function memorySuggestions(
  recipe: Recipe,
  model: ModelSize,
  data: DataSize,
  { threads, freeMemoryBytes: free }: Machine,
): Suggestion[] {
  const taking = (set: Change): number => trainingMemory(model, { ...recipe, ...set }, { threads, data });
  const told = ({ text, set }: Try): Suggestion => ({
    text: `${text}: it then takes about ${inWords(taking(set))}.`,
    set,
  });
  const tries = cheaper(recipe);
  const single = tries.filter(({ set }) => taking(set) <= free);
  const more = taking({}) - free;
  const close = { text: `Close other programs: about ${inWords(more)} more free memory is needed.`, set: {} };
  if (single.length > 0) return [...single.slice(0, 3).map(told), close];
  let chosen: Try[] = [];
  for (const each of tries) {
    // Of two that change the same the one that takes less stands.
    const others = chosen.filter(({ set }) => !Object.keys(set).some((key) => key in each.set));
    const next = [...others, each];
    if (chosen.length > 0 && taking(together(next).set) >= taking(together(chosen).set)) continue;
    chosen = next;
    const all = together(chosen);
    if (taking(all.set) <= free) return [told(all), close];
  }
  return [close, { text: 'Choose a smaller model.', set: {} }];
}
