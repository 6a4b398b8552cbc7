/** @file How words are chosen, as options of every command that asks a model. */
import type { ParseArgsOptionsConfig } from 'node:util';
import type { Sampling } from '../contract/entities.ts';
import { number, type Context } from './command.ts';

/** By option: the name in the contract. */
const NAMES = {
  'max-tokens': 'maxTokens',
  temperature: 'temperature',
  'top-p': 'topP',
  'top-k': 'topK',
  'repetition-penalty': 'repetitionPenalty',
  seed: 'seed',
} as const satisfies Readonly<Record<string, keyof Sampling>>;

export const SAMPLING_OPTIONS: ParseArgsOptionsConfig = Object.fromEntries(
  Object.keys(NAMES).map((name) => [name, { type: 'string' as const }]),
);
export const SAMPLING_HELP =
  '--max-tokens N ends an answer (128). --temperature 0 always takes the likeliest word; above it --top-p, --top-k and --seed say how it is drawn. --repetition-penalty above 1 repeats less.';

/** What was given; the contract fills in the rest. @throws USAGE */
export const samplingOf = (context: Context): Partial<Sampling> =>
  Object.fromEntries(
    Object.entries(NAMES).flatMap(([option, name]) => {
      const value = number(context, option);
      return value === undefined ? [] : [[name, value]];
    }),
  );
