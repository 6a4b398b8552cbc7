/** @file Generation: prompt in, tokens out one by one, their text told as soon as it is whole. */
import { FettleError } from '../../contract/errors.ts';
import type { Tokenizer } from '../../formats/model.ts';
import type { Decoder } from '../types.ts';
import { createSampler, GREEDY, type SamplingOptions } from './sampler.ts';
import { GrowingText } from './text.ts';

export interface GenerateOptions {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  /** The prompt, at least one token. */
  readonly ids: readonly number[];
  /** End the answer and are no part of its text. */
  readonly stopIds: readonly number[];
  /** Texts that end the answer where they appear, and are no part of it. */
  readonly stopTexts?: readonly string[];
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

/** @throws INPUT_INVALID for an empty prompt, PROMPT_TOO_LONG for one longer than the model's context. */
export async function generate(options: GenerateOptions): Promise<Generated> {
  const { decoder, tokenizer, stopIds, stopTexts = [], maxTokens, onPiece, signal } = options;
  if (options.ids.length > decoder.maxTokens) throw tooLong(options.ids.length, decoder.maxTokens);
  if (signal?.aborted) return { ids: [], text: '', reason: 'aborted', tokensPerSecond: 0 };
  const sample = createSampler(options.sampling ?? GREEDY);
  const stops = new Set(stopIds);
  const seen = [...options.ids];
  const ids: number[] = [];
  const growing = new GrowingText((ids) => tokenizer.decode(ids, { skipSpecial: true }));
  let told = '';
  let text = '';
  let reason: Generated['reason'] = 'length';
  const tell = (whole: string): void => {
    if (!onPiece || !whole.startsWith(told) || whole.length <= told.length) return;
    onPiece(whole.slice(told.length));
    told = whole;
  };
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
    text = growing.push(id);
    const end = endOf(text, stopTexts);
    if (end >= 0) {
      text = text.slice(0, end);
      reason = 'stop';
      break;
    }
    // A character whose bytes are not all there yet shows as the replacement character: it waits.
    if (!text.endsWith('\uFFFD')) tell(text.slice(0, text.length - begunOf(text, stopTexts)));
    if (ids.length >= maxTokens || seen.length >= decoder.maxTokens) break;
    logits = await decoder.step(id);
  }
  tell(text);
  const seconds = (performance.now() - start) / 1000;
  return { ids, text, reason, tokensPerSecond: ids.length > 1 && seconds > 0 ? (ids.length - 1) / seconds : 0 };
}

/** Where the first of the stop texts begins, -1 where there is none. */
function endOf(text: string, stopTexts: readonly string[]): number {
  const found = stopTexts.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? -1 : Math.min(...found);
}

/** How many characters at the end may be the beginning of a stop text: they wait. */
function begunOf(text: string, stopTexts: readonly string[]): number {
  let most = 0;
  for (const stop of stopTexts)
    for (let length = Math.min(stop.length - 1, text.length); length > most; length--)
      if (text.endsWith(stop.slice(0, length))) most = length;
  return most;
}

const tooLong = (tokens: number, most: number): FettleError =>
  new FettleError(
    'PROMPT_TOO_LONG',
    `What it was given is ${tokens} tokens long, and this model reads ${most} at most.`,
    'Shorten it, or begin a new conversation.',
  );
