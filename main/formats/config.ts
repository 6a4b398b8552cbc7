/** @file Reads values of a config.json with errors that name the key. */
import { FettleError } from '../contract/errors.ts';
import type { HfConfig } from './model.ts';

const invalid = (key: string, what: string): FettleError =>
  new FettleError(
    'FORMAT_INVALID',
    `config.json: ${key} ${what}.`,
    'The model folder may be damaged or incomplete; download it again.',
  );

/** A whole number from 1 to 2^31. */
export function count(config: HfConfig, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (value === undefined) throw invalid(key, 'is missing');
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 2 ** 31)
    throw invalid(key, `is not a positive whole number: ${JSON.stringify(value)}`);
  return value;
}

/** A positive finite number. */
export function positive(config: HfConfig, key: string, fallback: number): number {
  const value = config[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    throw invalid(key, `is not a positive number: ${JSON.stringify(value)}`);
  return value;
}

export function flag(config: HfConfig, key: string, fallback: boolean): boolean {
  const value = config[key] ?? fallback;
  if (typeof value !== 'boolean') throw invalid(key, `is neither true nor false: ${JSON.stringify(value)}`);
  return value;
}

/** A nested object, or undefined where there is none. */
export function section(config: HfConfig, key: string): HfConfig | undefined {
  const value = config[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(key, 'is not an object');
  return value as HfConfig;
}

/** Throws MODEL_UNSUPPORTED. */
export function unsupported(what: string, hint: string): never {
  throw new FettleError('MODEL_UNSUPPORTED', what, hint);
}
