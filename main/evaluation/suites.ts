/** @file What models are measured on, each with the version that says which rows, checks or probes those were. */
import { createHash } from 'node:crypto';
import type { Check, Sampling, Suite, SuiteName } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { ProbeSuite } from './probes.ts';

/** Raised when a check judges an answer otherwise than before: figures of two versions cannot be compared. */
const CHECKS_VERSION = 1;

/** Greedy, so that the same model says the same again. */
export const DECODING: Sampling = { maxTokens: 160, temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };

/** What was measured on, in numbers; null where nothing was. */
export interface Measures {
  readonly dataset: string;
  readonly heldOutRows: number;
  readonly questions: number;
  readonly checks: readonly Check[];
  readonly probes: ProbeSuite | null;
}

export function suitesOf(names: readonly SuiteName[], of: Measures): Suite[] {
  const { dataset, heldOutRows, questions, checks, probes } = of;
  const short = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);
  const bundled = probes ? `${probes.version} (${probes.sha256.slice(0, 8)})` : '';
  const all: Readonly<Record<SuiteName, Suite>> = {
    'held-out': { name: 'held-out', version: `data ${dataset}`, items: heldOutRows },
    task: {
      name: 'task',
      version: `data ${dataset}, checks ${CHECKS_VERSION} (${short(JSON.stringify(checks))})`,
      items: questions,
    },
    general: {
      name: 'general',
      version: bundled,
      items: probes?.skills.reduce((sum, skill) => sum + skill.probes.length, 0) ?? 0,
    },
    prose: { name: 'prose', version: bundled, items: probes?.prose.length ?? 0 },
  };
  return names.map((name) => all[name]).filter(({ items }) => items > 0);
}

/** @throws DATA_EMPTY where the suites asked for hold nothing to measure on */
export const nothingMeasured = (): FettleError =>
  new FettleError(
    'DATA_EMPTY',
    'There was nothing to measure on: no row, no question, no probe.',
    'Ask for another suite, or bring data with rows held out.',
  );
