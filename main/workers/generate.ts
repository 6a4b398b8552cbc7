/** @file Child process: keeps one model loaded and answers what it is asked, one prompt after another, until it was idle for a while. */
import type { GenerationEvent } from '../contract/api.ts';
import type { ChatTurn, Sampling } from '../contract/entities.ts';
import { toFettleError } from '../contract/errors.ts';
import { generate } from '../engine/generate/generate.ts';
import { chatPrompt } from '../engine/train/examples.ts';
import { runChild } from './child.ts';
import { loadModel, withAdapter } from './load.ts';

export interface GenerateJob {
  readonly model: string;
  /** Folder of the adapter; null for the base model. */
  readonly adapter: string | null;
  /** Adapters of the stages under it. */
  readonly under: readonly string[];
  readonly threads: number;
}
interface Ask {
  readonly type: 'ask';
  readonly id: string;
  readonly target: string;
  /** A text is gone on from as it stands; turns go through the model's chat template. */
  readonly prompt: string | readonly ChatTurn[];
  readonly sampling: Sampling;
}
export type GenerateMessage = Ask | { readonly type: 'stop'; readonly id: string };
export interface GenerateEvent {
  readonly id: string;
  readonly event: GenerationEvent;
}

/** Then the memory is given back. */
const IDLE_MS = 120_000;

runChild<GenerateJob, GenerateEvent, void>(async (job, { emit, onMessage, signal }) => {
  const waiting: Ask[] = [];
  const stopped = new Set<string>();
  let wake = (): void => undefined;
  let current: { readonly id: string; readonly abort: AbortController } | undefined;
  onMessage((given) => {
    const message = given as GenerateMessage;
    if (message.type === 'ask') waiting.push(message);
    else if (current?.id === message.id) current.abort.abort();
    else stopped.add(message.id);
    wake();
  });
  signal.addEventListener('abort', () => {
    current?.abort.abort();
    wake();
  });

  const { files, template, base, close } = await loadModel(job.model, job.threads, job.under);
  const { tokenizer, stopIds } = files;
  const decoder = (await withAdapter(base, job.adapter)).generator();

  const answer = async ({ id, target, prompt, sampling }: Ask): Promise<void> => {
    const abort = new AbortController();
    current = { id, abort };
    if (stopped.delete(id)) abort.abort();
    try {
      const { text, ids, reason, tokensPerSecond } = await generate({
        decoder,
        tokenizer,
        ids: typeof prompt === 'string' ? tokenizer.encode(prompt) : chatPrompt(prompt, { tokenizer, template }),
        stopIds,
        sampling,
        maxTokens: sampling.maxTokens,
        onPiece: (piece) => emit({ id, event: { type: 'piece', text: piece } }),
        signal: abort.signal,
      });
      const done = { target, text, tokens: ids.length, stopReason: reason, tokensPerSecond };
      emit({ id, event: { type: 'done', answer: done } });
    } catch (error) {
      const { code, message, hint } = toFettleError(error);
      emit({ id, event: { type: 'error', error: { code, message, ...(hint ? { hint } : {}) } } });
    } finally {
      current = undefined;
    }
  };

  /** False where nothing was asked for a while. */
  const asked = (): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), IDLE_MS);
      wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });

  while (!signal.aborted) {
    const next = waiting.shift();
    if (next) await answer(next);
    else if (!(await asked())) break;
  }
  await decoder.release();
  await close();
});
