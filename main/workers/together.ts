/** @file Many prompts answered by one model, several at a time: reading the weights is what a token costs, and they are read once for all of them. */
import type { ModelSpec } from '../engine/architectures/spec.ts';
import { generate, type Generated, type GenerateOptions } from '../engine/generate/generate.ts';
import { createLimit } from '../engine/generate/turns.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import type { Decoders } from '../exports/proof.ts';

type Answering = Omit<GenerateOptions, 'decoder'>;
export interface Together {
  /** Answered at a time; more wait. */
  readonly rows: number;
  answer(options: Answering): Promise<Generated>;
  release(): Promise<void>;
}

/** Prompts that are answered at a time, where their keys and values fit so many bytes. */
const AT_ONCE = 8;
const CACHE_BYTES = 1e9;
/** What an answer is expected to take of the context at most: the few that take more may go beyond. */
const USUAL_TOKENS = 2048;

/** @param most at a time. */
export function decodersOf(model: BaseModel | TunedModel, most = AT_ONCE): Decoders & { release(): Promise<void> } {
  const rows = Math.min(most, rowsFor(model.spec));
  const batch = model.batchGenerator(rows);
  return { rows, open: () => batch.open(), release: () => batch.release() };
}

export function answerTogether(model: BaseModel | TunedModel): Together {
  const { rows, open, release } = decodersOf(model);
  const atOnce = createLimit(rows);
  return {
    rows,
    answer: (options) =>
      atOnce(async () => {
        const decoder = open();
        try {
          return await generate({ ...options, decoder });
        } finally {
          await decoder.release();
        }
      }),
    release,
  };
}

function rowsFor({ layers, kvHeads, headDim, maxPositions }: ModelSpec): number {
  const bytesEach = 2 * 4 * layers * kvHeads * headDim * Math.min(maxPositions, USUAL_TOKENS);
  return Math.max(1, Math.min(AT_ONCE, Math.floor(CACHE_BYTES / bytesEach)));
}

/** What all prompts of a list are answered with. `maxTokens` may differ from one to the next. */
interface AllOptions extends Omit<Answering, 'ids' | 'maxTokens' | 'onPiece'> {
  /** Told how many are answered, at the beginning and after each; throws to give up. */
  readonly tell: (answered: number) => void;
}

/**
 * Greedy unless it is said otherwise, so that each is answered as it would be alone.
 * @returns the answers, in the order of the prompts.
 * @throws what `tell` throws, PROMPT_TOO_LONG; nothing goes on behind it then.
 */
export async function answerAll(
  model: BaseModel | TunedModel,
  prompts: readonly { readonly ids: readonly number[]; readonly maxTokens: number }[],
  { tell, signal, ...options }: AllOptions,
): Promise<Generated[]> {
  if (prompts.length === 0) return [];
  const together = answerTogether(model);
  const failed = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const left = prompts.entries();
  const answers: Generated[] = [];
  let answered = 0;
  const work = async (): Promise<void> => {
    for (const [i, prompt] of left) {
      answers[i] = await together.answer({ ...options, ...prompt, signal: stop });
      if (stop.aborted) break;
      tell(++answered);
    }
  };
  try {
    tell(0);
    const works = Array.from({ length: together.rows }, async () => {
      try {
        await work();
      } catch (error) {
        failed.abort();
        throw error;
      }
    });
    // What others have begun ends before the sessions go.
    const [broken] = (await Promise.allSettled(works)).filter(({ status }) => status === 'rejected');
    if (broken?.status === 'rejected') throw broken.reason;
    tell(answered);
    return answers;
  } finally {
    await together.release();
  }
}
