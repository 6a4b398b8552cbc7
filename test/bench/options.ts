/** @file What the benchmarks share: options that are numbers, texts or switches, and figures with their spread. */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { childEnv } from '../../main/workers/process-host.ts';

type Option = number | string | boolean;

/** What was asked for on the command line, of the kind that each option's usual value has. Ends the program with a sentence where it is not. */
export function readOptions<T extends Readonly<Record<string, Option>>>(
  usual: T,
): { [Name in keyof T]: T[Name] extends number ? number : T[Name] extends boolean ? boolean : string } {
  const options = Object.fromEntries(
    Object.entries(usual).map(([name, value]) => [
      name,
      typeof value === 'boolean'
        ? ({ type: 'boolean', default: value } as const)
        : ({ type: 'string', default: String(value) } as const),
    ]),
  );
  const { values } = parseArgs({ options });
  const read = Object.entries(usual).map(([name, value]) => {
    if (typeof value !== 'number') return [name, values[name]];
    const number = Number(values[name]);
    if (!Number.isInteger(number) || number < 1)
      stop(`--${name} is a whole number from 1, not ${String(values[name])}.`);
    return [name, number];
  });
  return Object.fromEntries(read) as ReturnType<typeof readOptions<T>>;
}

/** Ends the program: it cannot measure what was asked. */
export function stop(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}

export const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1]!;

export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}
export const spread = (list: readonly number[]): Spread => ({
  median: median(list),
  low: Math.min(...list),
  high: Math.max(...list),
});
/** One figure over another in each round: the machine's own speed swings from one minute to the next. */
export const ratios = (of: readonly number[], to: readonly number[]): Spread => spread(of.map((x, i) => x / to[i]!));
/** As in `1.64 (1.28 to 2.32)`. */
export const inWords = ({ median: middle, low, high }: Spread): string =>
  `${middle.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;

/** The environment of other programs: without what Fettle's own processes are given about memory. */
export function othersEnv(): NodeJS.ProcessEnv {
  const own = new Set(Object.keys(childEnv({})));
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.has(name))), HF_HUB_OFFLINE: '1' };
}

/** A benchmark that trains or answers in its own process begins anew as one of Fettle's, unless it is one. */
export function asFettleProcess(): void {
  const env = childEnv(process.env);
  if (Object.entries(env).every(([name, value]) => process.env[name] === value)) return;
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env,
  });
  process.exit(status ?? 1);
}
