/** @file The proof of an export: the same prompts and rows through the run in the app and through the exported files, token by token. */
import type { ExportType, Proof } from '../contract/entities.ts';
import { ALLOWED } from '../contract/export-types.ts';
import { argmax } from '../engine/generate/sampler.ts';
import { createLimit } from '../engine/generate/turns.ts';
import type { Decoder } from '../engine/types.ts';

/** One prompt gone on from greedily: the tokens chosen, and the logits each was chosen from. */
export interface Replay {
  readonly ids: readonly number[];
  readonly logits: readonly Float32Array[];
}

export const REPLAYED_TOKENS = 24;

/** Decoders of one model, so many at a time. */
export interface Decoders {
  readonly rows: number;
  open(): Decoder;
}

/** @param tell told how many prompts are gone on from, before and after each; may throw to give up. */
export async function replay(
  { rows, open }: Decoders,
  prompts: readonly (readonly number[])[],
  tell: (done: number) => void = () => undefined,
): Promise<Replay[]> {
  const atOnce = createLimit(rows);
  let done = 0;
  let given: { readonly up: unknown } | undefined;
  const all = prompts.map((prompt) =>
    atOnce(async (): Promise<Replay> => {
      if (given) throw given.up;
      const decoder = open();
      try {
        tell(done);
        const made = await goOn(decoder, prompt);
        tell(++done);
        return made;
      } catch (error) {
        given ??= { up: error };
        throw error;
      } finally {
        await decoder.release();
      }
    }),
  );
  // What others have begun ends before the model may go.
  await Promise.allSettled(all);
  return Promise.all(all);
}

async function goOn(decoder: Decoder, prompt: readonly number[]): Promise<Replay> {
  const ids: number[] = [];
  const logits: Float32Array[] = [];
  let next = await decoder.prefill(prompt);
  for (;;) {
    logits.push(next.slice());
    ids.push(argmax(next));
    if (ids.length === REPLAYED_TOKENS) return { ids, logits };
    next = await decoder.step(ids.at(-1)!);
  }
}

/** Mean loss on held-out rows, in nats a token. */
export interface Likelihood {
  readonly rows: number;
  readonly tokens: number;
  readonly loss: number;
}
interface Answers {
  readonly replays: readonly Replay[];
  readonly likelihood: Likelihood | null;
}

/** float32 files must give the run's logits within this. */
export const LOGIT_TOLERANCE = 1e-3;

/** @param by who read the files. Logits are compared up to the first token that differs: after it the texts are different ones. */
export function compareAnswers(expected: Answers, found: Answers, dtype: ExportType, by = 'Fettle'): Proof {
  const replays = expected.replays.map(({ ids }, i) => {
    const firstApart = ids.findIndex((id, t) => id !== found.replays[i]!.ids[t]);
    return { tokens: ids.length, same: firstApart === -1 ? ids.length : firstApart };
  });
  // Where two tokens are as good as each other, either may be the best by the last bits of a sum.
  const ties = replays.every(
    ({ same, tokens }, i) => same === tokens || gap(expected.replays[i]!.logits[same]!) <= LOGIT_TOLERANCE,
  );
  let largest = 0;
  for (const [i, { same, tokens }] of replays.entries())
    for (let t = 0; t < Math.min(tokens, same + 1); t++)
      largest = Math.max(largest, largestDifference(expected.replays[i]!.logits[t]!, found.replays[i]!.logits[t]!));
  const tokensCompared = replays.reduce((sum, { tokens }) => sum + tokens, 0);
  const tokensEqual = replays.reduce((sum, { same }) => sum + same, 0);
  const likelihood = likelihoodOf(expected.likelihood, found.likelihood, dtype);
  const asked = tokensCompared > 0;
  const exact = dtype !== 'f32' || largest <= LOGIT_TOLERANCE;
  const equal = asked && tokensEqual === tokensCompared && exact;
  const near = likelihood !== null && Math.abs(likelihood.change) <= likelihood.allowed;
  const within = dtype === 'f32' ? asked && ties && exact : near;
  return {
    by,
    asked: null,
    prompts: replays.length,
    tokensCompared,
    tokensEqual,
    replays,
    largestLogitDifference: largest,
    likelihood,
    readers: [],
    text: null,
    template: null,
    // Of rounded numbers the likelihood decides: a text may turn at a word where two were as good.
    verdict: likelihood !== null && !near ? 'different' : equal ? 'equal' : within ? 'within' : 'different',
  };
}

function likelihoodOf(run: Likelihood | null, files: Likelihood | null, dtype: ExportType): Proof['likelihood'] {
  if (!run || !files) return null;
  const change = (files.loss - run.loss) / run.loss;
  return { rows: run.rows, tokens: run.tokens, run: run.loss, files: files.loss, change, allowed: ALLOWED[dtype] };
}

/** Infinite where one is not a number. */
function largestDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}

/** Between the two best logits. */
export function gap(logits: Float32Array): number {
  let [best, second] = [-Infinity, -Infinity];
  for (const value of logits)
    if (value > best) [best, second] = [value, best];
    else if (value > second) second = value;
  return best - second;
}
