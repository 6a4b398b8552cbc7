/** @file Child process: keeps one base model loaded with the adapters that were asked for, and answers several prompts at a time, a token of each in turn. */
import type { GenerationEvent } from '../contract/api.ts';
import type { ChatTurn, Sampling } from '../contract/entities.ts';
import { toFettleError } from '../contract/errors.ts';
import { generate } from '../engine/generate/generate.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { chatPrompt, textPrompt } from '../engine/train/examples.ts';
import { runChild } from './child.ts';
import { loadModel, withAdapter } from './load.ts';
import { createTurns, takingTurns } from '../engine/generate/turns.ts';

export interface GenerateJob {
  readonly model: string;
  /** Adapters of the stages under what is asked. */
  readonly under: readonly string[];
  readonly threads: number;
}
interface Ask {
  readonly type: 'ask';
  readonly id: string;
  readonly target: string;
  /** Folder of the adapter; null for the base model. */
  readonly adapter: string | null;
  /** A text is gone on from as it stands; turns go through the model's chat template. */
  readonly prompt: string | readonly ChatTurn[];
  readonly sampling: Sampling;
  readonly stop: readonly string[];
}
export type GenerateMessage = Ask | { readonly type: 'stop'; readonly id: string };
export interface GenerateEvent {
  readonly id: string;
  readonly event: GenerationEvent;
}

/** Each has a cache of keys and values of its own; more wait. */
const MOST_AT_ONCE = 4;
/** Kept beside the base; the one that was not used longest goes. */
const MOST_ADAPTERS = 4;

runChild<GenerateJob, GenerateEvent, void>(async (job, { emit, onMessage, signal }) => {
  const waiting: Ask[] = [];
  const working = new Map<string, AbortController>();
  /** Before they began. */
  const stopped = new Set<string>();
  let wake = (): void => undefined;
  onMessage((given) => {
    const message = given as GenerateMessage;
    if (message.type === 'ask') waiting.push(message);
    else if (working.has(message.id)) working.get(message.id)?.abort();
    else if (waiting.some((ask) => ask.id === message.id)) stopped.add(message.id);
    wake();
  });
  signal.addEventListener('abort', () => {
    for (const abort of working.values()) abort.abort();
    wake();
  });

  const { files, template, base, close } = await loadModel(job.model, job.threads, job.under);
  const { tokenizer, stopIds } = files;
  const adapted = new Map<string | null, Promise<BaseModel | TunedModel>>();
  let whole: string | null = null;
  const modelWith = (adapter: string | null): Promise<BaseModel | TunedModel> => {
    const model = adapted.get(adapter) ?? withAdapter(base, adapter);
    adapted.delete(adapter);
    adapted.set(adapter, model);
    // One that cannot be read may be there the next time.
    const forget = (): void => void adapted.delete(adapter);
    for (const oldest of [...adapted.keys()].slice(0, -MOST_ADAPTERS)) adapted.delete(oldest);
    // A run that trained all weights takes as much as the base: of those, one is kept.
    void model.then((made) => {
      if (!isWhole(made)) return;
      if (whole !== adapter) adapted.delete(whole);
      whole = adapter;
    }, forget);
    return model;
  };
  const inTurn = createTurns();

  const answer = async (ask: Ask): Promise<void> => {
    const { id, target, adapter, prompt, sampling, stop } = ask;
    const abort = new AbortController();
    if (stopped.delete(id)) return emit({ id, event: nothingSaid(ask, base.spec.maxPositions) });
    working.set(id, abort);
    try {
      const ids =
        typeof prompt === 'string' ? textPrompt(prompt, tokenizer) : chatPrompt(prompt, { tokenizer, template });
      const decoder = takingTurns((await modelWith(adapter)).generator(), inTurn);
      try {
        const made = await generate({
          decoder,
          tokenizer,
          ids,
          stopIds,
          stopTexts: stop,
          sampling,
          maxTokens: sampling.maxTokens,
          onPiece: (piece) => emit({ id, event: { type: 'piece', text: piece } }),
          signal: abort.signal,
        });
        const { text, reason, tokensPerSecond } = made;
        const done = { target, text, tokens: made.ids.length, stopReason: reason, tokensPerSecond };
        emit({
          id,
          event: { type: 'done', answer: done, promptTokens: ids.length, contextTokens: decoder.maxTokens },
        });
      } finally {
        await decoder.release();
      }
    } catch (error) {
      const { code, message, hint } = toFettleError(error);
      emit({ id, event: { type: 'error', error: { code, message, ...(hint ? { hint } : {}) } } });
    } finally {
      working.delete(id);
      wake();
    }
  };

  while (!signal.aborted) {
    while (working.size < MOST_AT_ONCE && waiting.length > 0) void answer(waiting.shift()!);
    await new Promise<void>((resolve) => (wake = resolve));
  }
  // What is under way sees the abort after its next token.
  while (working.size > 0) await new Promise<void>((resolve) => (wake = resolve));
  await close();
});

const isWhole = (model: BaseModel | TunedModel): boolean => 'lora' in model && model.lora === null;

const nothingSaid = ({ target }: Ask, contextTokens: number): GenerationEvent => ({
  type: 'done',
  answer: { target, text: '', tokens: 0, stopReason: 'aborted', tokensPerSecond: 0 },
  promptTokens: 0,
  contextTokens,
});
