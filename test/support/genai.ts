/** @file Asks onnxruntime-genai about an exported folder. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChatMessage } from '../../main/formats/model.ts';
import { runOracle } from './oracle.ts';

export interface GenaiRequest {
  readonly model: string;
  readonly texts: readonly string[];
  readonly conversation: readonly ChatMessage[] | null;
  readonly prompts: readonly (readonly number[])[];
  readonly maxTokens: number;
  /** Tokens whose likelihood is asked for, of those after `from`. */
  readonly row: readonly number[];
  readonly from: number;
}
export interface GenaiAnswer {
  readonly tokens: readonly (readonly number[])[];
  readonly conversation: string | null;
  /** Of each prompt, up to an end of answer, which is the last token then. */
  readonly greedy: readonly (readonly number[])[];
  /** Summed negative log likelihood, in nats. */
  readonly loss: number;
}

/** What genai.py finds. */
export function askGenai(python: string, request: GenaiRequest): GenaiAnswer {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-genai-'));
  try {
    const [question, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
    writeFileSync(question, JSON.stringify(request));
    runOracle(python, 'genai.py', [question, answer]);
    return JSON.parse(readFileSync(answer, 'utf8')) as GenaiAnswer;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
