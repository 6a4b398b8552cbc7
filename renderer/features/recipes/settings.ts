/** @file The settings of a recipe in plain words, in the order a person meets them. */
import { DEVICES, PRECISIONS, TARGET_MODULES, type Recipe } from '../../../main/contract/recipe.ts';

export type Key = Exclude<keyof Recipe, 'version' | 'strategy'>;
export interface Setting {
  readonly key: Key;
  readonly name: string;
  readonly kind: 'number' | 'switch' | 'modules' | 'text' | readonly string[];
}

export const MAIN: readonly Setting[] = [
  { key: 'rank', name: 'Size of the addition', kind: 'number' },
  { key: 'epochs', name: 'How often it reads the data', kind: 'number' },
  { key: 'learningRate', name: 'Step size', kind: 'number' },
  { key: 'lossOn', name: 'Learns from', kind: ['response', 'all'] },
  { key: 'rehearsal', name: 'General data mixed in', kind: 'number' },
  { key: 'batchSize', name: 'Rows at once', kind: 'number' },
  { key: 'maxLength', name: 'Longest row, in tokens', kind: 'number' },
  { key: 'earlyStopping', name: 'Looks without gain before it stops', kind: 'number' },
];
export const EXPERT: readonly Setting[] = [
  { key: 'maxSteps', name: 'Steps at most, in place of epochs', kind: 'number' },
  { key: 'method', name: 'What is trained', kind: ['lora', 'full'] },
  { key: 'alpha', name: 'Weight of the addition', kind: 'number' },
  { key: 'useRslora', name: 'Weight by the root of the size', kind: 'switch' },
  { key: 'useDora', name: 'Lengths learned apart', kind: 'switch' },
  { key: 'loraPlusRatio', name: 'Step of the second matrix over the first', kind: 'number' },
  { key: 'dropout', name: 'Share of the input that is dropped', kind: 'number' },
  { key: 'targetModules', name: 'Layers it is added to', kind: 'modules' },
  { key: 'modulesToSave', name: 'Trained in whole besides', kind: 'modules' },
  { key: 'schedule', name: 'How the step size falls', kind: ['cosine', 'linear', 'constant'] },
  { key: 'warmupRatio', name: 'Share of the run spent warming up', kind: 'number' },
  { key: 'weightDecay', name: 'Pull towards zero', kind: 'number' },
  { key: 'weightDecayOn', name: 'What is pulled', kind: ['matrices', 'all'] },
  { key: 'maxGradNorm', name: 'Limit of one correction', kind: 'number' },
  { key: 'gradientAccumulation', name: 'Batches to one step', kind: 'number' },
  { key: 'activationCheckpointing', name: 'Compute again instead of keeping', kind: 'switch' },
  { key: 'packing', name: 'Several examples in one row', kind: 'switch' },
  { key: 'shuffle', name: 'Mix the order', kind: 'switch' },
  { key: 'evalEvery', name: 'Steps between looks at unseen rows', kind: 'number' },
  { key: 'saveEvery', name: 'Steps between checkpoints', kind: 'number' },
  { key: 'keepCheckpoints', name: 'Checkpoints kept beside best and last', kind: 'number' },
  { key: 'beta1', name: 'Memory of the direction', kind: 'number' },
  { key: 'beta2', name: 'Memory of the size', kind: 'number' },
  { key: 'epsilon', name: 'Smallest divisor', kind: 'number' },
  { key: 'seed', name: 'Seed', kind: 'number' },
  { key: 'precision', name: 'Numbers of the frozen model', kind: [...PRECISIONS] },
  { key: 'device', name: 'Device', kind: ['auto', ...DEVICES] },
  { key: 'initAdapter', name: 'Adapter to start from', kind: 'text' },
];

const NAMES: ReadonlyMap<string, string> = new Map([
  ['strategy', 'Strategy'],
  ...[...MAIN, ...EXPERT].map(({ key, name }) => [key, name] as const),
]);
export const nameOf = (key: string): string => NAMES.get(key) ?? key;

/** "all 7 linear layers" and its like: a value as it is read. @param modules that the model has. */
export function shown(value: unknown, modules: readonly string[] = TARGET_MODULES): string {
  if (value === undefined || value === null) return 'not set';
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (Array.isArray(value))
    return value.length === modules.length ? `all ${value.length} linear layers` : value.join(', ') || 'none';
  return String(value);
}

/**
 * What a person wrote, as the recipe takes it: a number, or the text itself where it is none, so that the host can say
 * what is allowed. Empty takes the recommended value again: undefined.
 */
export function written(setting: Setting, text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (setting.kind !== 'number') return trimmed;
  const value = Number(trimmed.replace(',', '.'));
  return Number.isNaN(value) ? trimmed : value;
}

/** `set` with one value more, or without it. */
export function withValue(
  set: Readonly<Record<string, unknown>>,
  key: string,
  value: unknown,
): Record<string, unknown> {
  const { [key]: _, ...rest } = set;
  return value === undefined ? rest : { ...rest, [key]: value };
}
