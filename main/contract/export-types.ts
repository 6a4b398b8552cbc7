/** @file Which format stores numbers how, how much the likelihood may change by it, and what a proof says. */
import type { ExportFormat, ExportType, Proof } from './entities.ts';

export const FLOATS = ['f32', 'f16', 'bf16'] as const;
export const GGUF_TYPES = [...FLOATS, 'q8_0', 'q6_k', 'q5_k_m', 'q5_1', 'q5_0', 'q4_k_m', 'q4_1', 'q4_0'] as const;
export const ONNX_TYPES = ['q8', 'f32', 'f16', 'q4'] as const;

/** A GGUF file's name, by what it is a tuning of. */
export const ggufNameOf = (title: string, type: string): string =>
  `${title.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-')}-${type}.gguf`;

/** The first is recommended. */
export const TYPES_OF: Readonly<Record<ExportFormat, readonly ExportType[]>> = {
  adapter: ['f32'],
  'gguf-adapter': ['f32', 'f16'],
  safetensors: FLOATS,
  gguf: ['q8_0', ...GGUF_TYPES.filter((type) => type !== 'q8_0')],
  ollama: ['q8_0', ...GGUF_TYPES.filter((type) => type !== 'q8_0')],
  onnx: ONNX_TYPES,
};

/** Relative change of the held-out loss that a type may bring; the reasons stand in docs/decisions/exports.md. */
export const ALLOWED: Readonly<Record<ExportType, number>> = {
  f32: 0.001,
  f16: 0.01,
  bf16: 0.01,
  q8_0: 0.01,
  q6_k: 0.03,
  q5_k_m: 0.1,
  q5_1: 0.1,
  q5_0: 0.1,
  q4_k_m: 0.15,
  q4_1: 0.15,
  q4_0: 0.15,
  q8: 0.01,
  q4: 0.15,
};

/** What to try where a type changes too much: the next with more bits. */
export const NEXT: Partial<Readonly<Record<ExportType, ExportType>>> = {
  q4_0: 'q4_k_m',
  q4_1: 'q4_k_m',
  q4_k_m: 'q5_k_m',
  q5_0: 'q5_k_m',
  q5_1: 'q5_k_m',
  q5_k_m: 'q6_k',
  q6_k: 'q8_0',
  q8_0: 'f16',
  q4: 'q8',
  q8: 'f16',
  bf16: 'f32',
  f16: 'f32',
};

/** Who else is asked of such files, where it is installed, and the package that it comes in. */
export const otherReader = (format: ExportFormat): { readonly name: string; readonly npm: string } | null =>
  format === 'onnx'
    ? { name: 'transformers.js', npm: '@huggingface/transformers' }
    : ['gguf', 'gguf-adapter', 'ollama'].includes(format)
      ? { name: 'llama.cpp', npm: 'node-llama-cpp' }
      : null;

/** A share as percent with two decimals; what rounds to nothing has no sign. */
export const inPercent = (share: number): string => `${(100 * share).toFixed(2).replace(/^-(0\.0+)$/, '$1')}%`;

/** What the files' own tokenizer, template and stops were found to do. */
export const textInWords = ({ texts, faults }: NonNullable<Proof['text']>): string =>
  faults.length === 0
    ? `${texts} texts and conversations are cut, framed and ended by the files as by the run`
    : `The files treat text otherwise than the run: ${faults.join('; ')}`;

/** Where the run was not asked for this export itself; else null. */
export const keptInWords = ({ asked }: Proof): string | null =>
  asked?.kept
    ? `${asked.at.slice(0, 16).replace('T', ' ')} UTC, for an earlier export: its model, checkpoint, prompts and rows are the same`
    : null;

/** The proof in one sentence. */
export function proofInWords({
  tokensEqual,
  tokensCompared,
  prompts,
  largestLogitDifference,
  likelihood,
  by,
}: Proof): string {
  const tokens = `read by ${by}: ${tokensEqual} of ${tokensCompared} tokens equal to the run in Fettle on ${prompts} prompts, largest difference of a logit ${largestLogitDifference.toExponential(1)}`;
  return likelihood === null
    ? tokens
    : `${tokens}; loss on ${likelihood.rows} unseen rows ${likelihood.files.toFixed(4)} nats a token, ${inPercent(likelihood.change)} off (${(100 * likelihood.allowed).toFixed(1)}% allowed)`;
}
