/** @file What a command is, and what it is given. */
import type { ParseArgsOptionsConfig } from 'node:util';
import type { Client } from '../contract/api.ts';
import { FettleError } from '../contract/errors.ts';

export interface Context {
  /** The API: of this process, or of the host that holds the home. */
  readonly client: Client;
  /** Arguments after the command's own words, in order. */
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly json: boolean;
  /** A line for people; nothing with --json. */
  say(text?: string): void;
  /** The one document of --json. */
  result(value: unknown): void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Command {
  /** As it is typed: "run pause". */
  readonly name: string;
  /** What follows the name: "PROJECT --model MODEL". */
  readonly usage: string;
  readonly summary: string;
  /** At least and at most so many arguments. */
  readonly args: readonly [least: number, most: number];
  readonly options?: ParseArgsOptionsConfig;
  /** More than the summary says, with examples. */
  readonly help?: string;
  run(context: Context): Promise<void>;
}

/** An option that takes one text. @throws USAGE where it is needed and missing. */
export function text({ options }: Context, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

export function needed(context: Context, name: string): string {
  const value = text(context, name);
  if (value === undefined)
    throw new FettleError('USAGE', `--${name} is missing.`, 'Add --help to see how the command is used.');
  return value;
}

/** @throws USAGE for what is no number. */
export function number(context: Context, name: string): number | undefined {
  const value = text(context, name);
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (value.trim() === '' || !Number.isFinite(parsed))
    throw new FettleError('USAGE', `--${name} takes a number, not ${JSON.stringify(value)}.`);
  return parsed;
}

/** The same, whole and within bounds. @throws USAGE */
export function whole(context: Context, name: string, least: number, most: number): number | undefined {
  const value = text(context, name);
  return value === undefined ? undefined : wholeNumber(name, value, least, most);
}

/** @throws USAGE */
export function wholeNumber(name: string, value: unknown, least: number, most: number): number {
  const parsed = typeof value === 'string' && value.trim() === '' ? NaN : Number(value);
  if (!Number.isInteger(parsed) || parsed < least || parsed > most)
    throw new FettleError(
      'USAGE',
      `--${name} takes a whole number from ${least} to ${most}, not ${JSON.stringify(value)}.`,
    );
  return parsed;
}

/** `key=value` pairs of an option that may be given several times. Values are read as JSON where they are, else as text. @throws USAGE */
export function pairs({ options }: Context, name: string): Record<string, unknown> {
  const given = options[name];
  const list = Array.isArray(given) ? (given as readonly unknown[]) : [];
  return Object.fromEntries(
    list.map((pair) => {
      const [key, ...rest] = String(pair).split('=');
      if (!key || rest.length === 0)
        throw new FettleError('USAGE', `--${name} takes key=value, not ${JSON.stringify(pair)}.`);
      return [key, read(rest.join('='))];
    }),
  );
}

function read(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
