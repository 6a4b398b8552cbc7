/** @file Runs the Python oracles. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Batch } from '../../main/engine/types.ts';

const scripts = join(import.meta.dirname, '../numerics/oracle');
const environment = { ...process.env, HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' };

export function runOracle(python: string, script: string, args: readonly string[]): void {
  execFileSync(python, [join(scripts, script), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment,
    maxBuffer: 1 << 26,
  });
}

export interface LanguageModelRequest {
  readonly model: string;
  readonly adapter?: string;
  readonly rows?: readonly { readonly ids: readonly number[]; readonly loss: readonly number[] }[];
  readonly prompts?: readonly (readonly number[])[];
  readonly maxTokens?: number;
  readonly logits?: readonly (readonly number[])[];
}
export interface LanguageModelAnswer {
  readonly losses: readonly { readonly sum: number; readonly count: number }[];
  readonly greedy: readonly { readonly ids: readonly number[]; readonly gaps: readonly number[] }[];
  readonly logits: readonly (readonly number[])[];
}

/** What transformers (and peft) say of a model: causal_lm.py. */
export const askTransformers = (python: string, request: LanguageModelRequest): LanguageModelAnswer =>
  askAllTransformers(python, [request])[0]!;

/** The same of many models: Python and its libraries take longer to start than a small model to answer. */
export function askAllTransformers(
  python: string,
  requests: readonly LanguageModelRequest[],
): readonly LanguageModelAnswer[] {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-oracle-'));
  try {
    const [question, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
    writeFileSync(question, JSON.stringify(requests));
    runOracle(python, 'causal_lm.py', [question, answer]);
    return JSON.parse(readFileSync(answer, 'utf8')) as LanguageModelAnswer[];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Rows that are one document each, without padding. */
export function batchOf([rows, length]: readonly number[], ids: Int32Array, labels: Int32Array): Batch {
  return {
    rows: rows!,
    length: length!,
    ids,
    labels,
    positions: ids.map((_, i) => i % length!),
    documents: new Int32Array(ids.length).fill(1),
    tokens: ids.length,
    labelled: labels.filter((label) => label >= 0).length,
  };
}
