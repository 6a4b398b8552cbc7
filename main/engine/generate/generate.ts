/** @file Generation: prompt in, tokens out one by one, their text told as soon as it is whole. */
import type { Tokenizer } from '../../formats/model.ts';
import type { Decoder } from '../types.ts';
import { createSampler, GREEDY, type SamplingOptions } from './sampler.ts';

export interface GenerateOptions {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  /** The prompt, at least one token. */
  readonly ids: readonly number[];
  /** End the answer and are no part of its text. */
  readonly stopIds: readonly number[];
  readonly maxTokens: number;
  /** Greedy where it is left out. */
  readonly sampling?: SamplingOptions;
  /** Pieces of the text, in order; together they are the whole text. */
  readonly onPiece?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface Generated {
  /** Without the stop token. */
  readonly ids: readonly number[];
  readonly text: string;
  readonly reason: 'stop' | 'length' | 'aborted';
  /** Of the tokens after the first, which waits for the prompt to be read; 0 where there is only one. */
  readonly tokensPerSecond: number;
}

/** @throws INPUT_INVALID for an empty prompt, or one longer than the model's context. */
export async function generate(options: GenerateOptions): Promise<Generated> {
  const { decoder, tokenizer, stopIds, maxTokens, onPiece, signal } = options;
  const sample = createSampler(options.sampling ?? GREEDY);
  const stops = new Set(stopIds);
  const seen = [...options.ids];
  const ids: number[] = [];
  let told = '';
  let text = '';
  let reason: Generated['reason'] = 'length';
  let logits = await decoder.prefill(options.ids);
  const start = performance.now();
  for (;;) {
    if (signal?.aborted) {
      reason = 'aborted';
      break;
    }
    const id = sample(logits, seen);
    if (stops.has(id)) {
      reason = 'stop';
      break;
    }
    ids.push(id);
    seen.push(id);
    text = tokenizer.decode(ids, { skipSpecial: true });
    // A character whose bytes are not all there yet shows as the replacement character: it waits.
    if (onPiece && !text.endsWith('\uFFFD') && text.startsWith(told) && text.length > told.length) {
      onPiece(text.slice(told.length));
      told = text;
    }
    if (ids.length >= maxTokens || seen.length >= decoder.maxTokens) break;
    logits = await decoder.step(id);
  }
  if (onPiece && text.length > told.length) onPiece(text.slice(told.length));
  const seconds = (performance.now() - start) / 1000;
  return { ids, text, reason, tokensPerSecond: ids.length > 1 && seconds > 0 ? (ids.length - 1) / seconds : 0 };
}
