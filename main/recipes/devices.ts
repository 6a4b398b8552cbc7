/** @file Where a run trains: what this machine has, and which of it is the right one for a recipe, with the reason in words. */
import { cpus } from 'node:os';
import { bytes as inWords } from '../contract/bytes.ts';
import { FettleError } from '../contract/errors.ts';
import { isQuantised, type Precision, type Recipe } from '../contract/recipe.ts';
import type { Core } from '../core/context.ts';
import { graphicsMemory, isSoftware, openedDevice } from '../core/graphics.ts';
import { DEVICE_TOKENS } from '../engine/model/pieces.ts';
import type { Speeds } from '../engine/quantise/kernels.ts';
import type { MeasuredDevice } from '../engine/segments/device-speed.ts';
import { deviceMemory, type ModelSize } from './memory.ts';
import type { MeasuredSpeeds } from './speeds.ts';

/** A graphics processor as it was tried. */
export interface Graphics {
  /** Null where nobody tells, or there is none. */
  readonly name: string | null;
  /** Billions of operations a second of float32 products; null where none can be used. */
  readonly fp32: number | null;
  /** Whether a base may be kept in 16-bit numbers there. */
  readonly halves: boolean;
  /** Null where nobody tells. */
  readonly memoryBytes: number | null;
  /** Why none can be used. */
  readonly why: string | null;
}

/** A graphics processor that is faster by less is not worth what goes to and fro. */
const WORTH_IT = 1.5;
/** Of its memory, what is filled by choice: the screen, and on many machines everything else, lies there too. */
const FILLED = 0.6;
const none = (why: string): Graphics => ({ name: null, fp32: null, halves: false, memoryBytes: null, why });

export interface Devices {
  /** @param again looks anew: a driver may have been installed since. */
  graphics(again?: boolean): Promise<Graphics>;
  /** @throws DEVICE_MISSING, RECIPE_INVALID, as `chooseDevice`. */
  choose(recipe: Recipe, model: ModelSize): Promise<Chosen>;
}

export function createDevices({ workers, log }: Core, measured: MeasuredSpeeds): Devices {
  /** In a child process: trying may crash. */
  async function look(): Promise<Graphics> {
    const worker = workers.run<never, MeasuredDevice>('devices', {}, () => undefined);
    try {
      const measured = await worker.result;
      const name = openedDevice(worker.errors());
      return { name, ...measured, memoryBytes: await graphicsMemory(name), why: null };
    } catch (error) {
      const said = error instanceof FettleError ? JSON.stringify(error.toShape()) : String(error);
      log.info('no graphics processor', { said, errors: worker.errors().slice(-1000) });
      return none(reasonOf(said));
    }
  }
  let known: Promise<Graphics> | undefined;
  const graphics: Devices['graphics'] = (again = false) => {
    if (again) known = undefined;
    return (known ??= look());
  };
  return {
    graphics,
    async choose(recipe, model) {
      const found = recipe.device === 'cpu' ? none('nobody asked') : await graphics();
      const cpu = cpus()[0]?.model.trim() ?? process.arch;
      const needed: Needed = (tokens, precision) =>
        deviceMemory(model, { ...recipe, precision: precision ?? recipe.precision }, tokens);
      return chooseDevice(recipe, found, await measured(), { cpu, needed });
    },
  };
}

function reasonOf(said: string): string {
  if (said.includes('No supported adapters')) return 'none was found, or it has no driver (on Linux one for Vulkan)';
  if (said.includes('multiplies wrongly')) return 'one was found, but what it computes is wrong';
  return 'none could be tried; the log has the details';
}

export interface Chosen {
  readonly device: 'cpu' | 'webgpu';
  /** What it is called. */
  readonly name: string;
  /** Why this one, in a sentence. */
  readonly why: string;
  /** Of a micro-batch, on a graphics processor: as many as its memory holds. */
  readonly tokens?: number;
}

/** What of a recipe only the processor trains, in words; undefined where a graphics processor does all of it. */
export function onlyOnProcessor(recipe: Recipe): string | undefined {
  const { precision, method, useDora, dropout, modulesToSave } = recipe;
  if (method === 'full') return 'full tuning';
  if (isQuantised(precision)) return `a base in ${precision}`;
  if (useDora) return 'DoRA';
  if (dropout > 0) return 'dropout';
  return modulesToSave.length > 0 ? 'training embedding or head in whole' : undefined;
}

/** What keeps this graphics processor from training a recipe, in words; undefined where nothing does. */
function whatItLacks(recipe: Recipe, { halves }: Graphics): string | undefined {
  const only = onlyOnProcessor(recipe);
  if (only) return `cannot do ${only} yet`;
  return recipe.precision === 'fp16' && !halves
    ? 'knows no 16-bit numbers, in which a base in fp16 is kept'
    : undefined;
}

/** Bytes of a graphics processor's memory that training takes, by the tokens of a micro-batch; in the recipe's precision unless said. */
type Needed = (tokens: number, precision?: Precision) => number;

/**
 * @throws DEVICE_MISSING where a graphics processor is asked for and there is none, RECIPE_INVALID where it does not do
 * what the recipe asks.
 */
export function chooseDevice(
  recipe: Recipe,
  graphics: Graphics,
  speeds: Speeds | null,
  { cpu, needed }: { readonly cpu: string; readonly needed: Needed },
): Chosen {
  const onCpu = (why: string): Chosen => ({ device: 'cpu', name: cpu, why: `Training on the processor: ${why}.` });
  if (recipe.device === 'cpu') return onCpu('the recipe says so');
  const { name, fp32, memoryBytes } = graphics;
  const cannot = whatItLacks(recipe, graphics);
  const called = name ?? 'the graphics processor';
  const least = DEVICE_TOKENS.at(-1)!;
  const fits = (tokens: number): boolean => memoryBytes !== null && needed(tokens) <= memoryBytes * FILLED;
  const chosen = (why: string): Chosen => ({
    device: 'webgpu',
    name: called,
    why: `Training on ${called}: ${why}.`,
    // Where nobody tells what it has, the least is asked of it.
    tokens: DEVICE_TOKENS.find(fits) ?? least,
  });
  if (recipe.device === 'webgpu') {
    if (fp32 === null)
      throw new FettleError(
        'DEVICE_MISSING',
        `The recipe asks for a graphics processor: ${graphics.why}.`,
        'Use device=cpu or auto. `fettle doctor` says what was found.',
      );
    if (cannot)
      throw new FettleError(
        'RECIPE_INVALID',
        `The graphics processor ${cannot}.`,
        'Use device=cpu or auto, or a plain adapter in fp32.',
      );
    return chosen('the recipe says so');
  }
  if (fp32 === null) return onCpu(`no graphics processor can be used, ${graphics.why}`);
  const not = whyNot(graphics, speeds);
  if (not) return onCpu(not);
  if (cannot) return onCpu(`${called} ${cannot}`);
  if (memoryBytes !== null && needed(least) > memoryBytes) {
    const inHalves = needed(least, 'fp16');
    const fitting =
      graphics.halves && inHalves <= memoryBytes
        ? `; with precision fp16 it would take ${inWords(inHalves)} and could be trained there`
        : '';
    return onCpu(`the run takes about ${inWords(needed(least))}, and ${called} has ${inWords(memoryBytes)}${fitting}`);
  }
  return chosen(speeds ? `it multiplies ${times(fp32 / speeds.fp32)} as fast as the processor` : 'it works here');
}

const times = (gain: number): string => `${gain.toFixed(gain < 10 ? 1 : 0)} times`;

/** Whether `auto` takes it, for what it can do. */
export const isWorthIt = (graphics: Graphics, speeds: Speeds | null): boolean =>
  graphics.fp32 !== null && whyNot(graphics, speeds) === undefined;

/** Why a device that works is still not the right one, in words. */
function whyNot({ name, fp32 }: Graphics, speeds: Speeds | null): string | undefined {
  if (name !== null && isSoftware(name)) return `${name} is no graphics processor but a program that acts as one`;
  // Vulkan's loader names what it opens; where it does not, a program may stand behind it.
  if (name === null && process.platform === 'linux') return 'nothing tells which graphics processor there is';
  const gain = speeds && fp32 !== null ? fp32 / speeds.fp32 : Infinity;
  return gain < WORTH_IT ? `${name ?? 'the graphics processor'} multiplies only ${times(gain)} as fast` : undefined;
}
