/** @file One model's answers to the probe suite: choices by their likelihood, short answers by greedy generation, text by its loss. */
import { judge } from '../evaluation/checks.ts';
import type { RowLoss } from '../evaluation/bootstrap.ts';
import type { Probe, ProbeSuite } from '../evaluation/probes.ts';
import type { ScoredItem } from '../evaluation/scorecard.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { documentExample, textPrompt } from '../engine/train/examples.ts';
import type { Example } from '../engine/types.ts';
import type { Tokenizer } from '../formats/model.ts';
import { answerAll } from './together.ts';

type Choice = Extract<Probe, { kind: 'choice' }>;
type Answered = ScoredItem['answers'][number];
export interface ProbeScores {
  /** By skill, in the order of the suite's probes. */
  readonly skills: readonly (readonly Answered[])[];
  readonly prose: readonly RowLoss[];
}
/** Told the share that is done, 0 to 1; throws to give up. */
type Tell = (share: number) => void;

const MAX_LENGTH = 512;

export async function scoreProbes(
  model: BaseModel | TunedModel,
  {
    tokenizer,
    ...ends
  }: { readonly tokenizer: Tokenizer; readonly stopIds: readonly number[]; readonly signal: AbortSignal },
  { skills, prose }: Pick<ProbeSuite, 'skills' | 'prose'>,
  tell: Tell,
): Promise<ProbeScores> {
  const choices = skills.flatMap(({ probes }) => probes).filter((probe) => probe.kind === 'choice');
  const worth = await chooseAll(model, tokenizer, choices, (share) => tell(0.7 * share));
  const answered = new Map<string, Answered>(
    choices.map(({ id, choices: each, answer }, i) => {
      const best = worth[i]!.indexOf(Math.max(...worth[i]!));
      return [id, { text: each[best]!, score: Number(best === answer), why: 'the likeliest of its choices' }];
    }),
  );
  const open = skills.flatMap(({ probes }) => probes).filter((probe) => probe.kind === 'generate');
  const prompts = open.map(({ prompt, maxTokens }) => ({ ids: textPrompt(prompt, tokenizer), maxTokens }));
  const said = await answerAll(model, prompts, {
    tokenizer,
    ...ends,
    tell: (done) => tell(0.7 + (0.2 * done) / open.length),
  });
  for (const [i, probe] of open.entries()) {
    // It goes on after its answer, with another sentence or another sum: what counts is the first line, or the first number.
    const line = said[i]!.text.trim().split('\n', 1)[0]!.trim();
    const counts = probe.check === 'number' ? (/^\D*\d+/.exec(line)?.[0] ?? line) : line;
    answered.set(probe.id, { text: counts, ...judge({ kind: probe.check }, counts, probe.answer) });
  }
  const losses = await lossesOf(
    model,
    prose.map(({ text }) => documentExample(text, tokenizer)),
    'non-instruct',
    (share) => tell(0.9 + 0.1 * share),
  );
  return {
    skills: skills.map(({ probes }) => probes.map(({ id }) => answered.get(id)!)),
    prose: losses,
  };
}

/** What each choice of a probe is worth: the log likelihood of its tokens by its characters, in nats. */
export type Worth = readonly number[];

/**
 * lm-evaluation-harness's rule for multiple choice (acc_norm): the choice follows the prompt after a blank; the highest
 * log likelihood by characters of the choice wins. Held against transformers by test/numerics/grades.test.ts.
 * @returns of each probe that is a choice, in their order.
 */
export async function chooseAll(
  model: BaseModel | TunedModel,
  tokenizer: Tokenizer,
  probes: readonly Choice[],
  tell: Tell,
): Promise<Worth[]> {
  const examples = probes.flatMap(({ prompt, choices }) =>
    choices.map((choice) => continuation(tokenizer, prompt, ` ${choice}`)),
  );
  const losses = await lossesOf(model, examples, 'instruct', tell);
  let at = 0;
  return probes.map(({ choices }) => choices.map((choice) => -losses[at++]!.sum / [...choice].length));
}

/**
 * The whole is cut into tokens at once, and what the prompt's own tokens do not cover carries loss. Blanks at the end of
 * the prompt belong to what follows, as that harness has it.
 */
function continuation(tokenizer: Tokenizer, prompt: string, text: string): Example {
  const ids = Int32Array.from(textPrompt(prompt + text, tokenizer));
  const from = textPrompt(prompt.trimEnd(), tokenizer).length;
  return { ids, loss: Uint8Array.from(ids, (_, i) => Number(i >= from)) };
}

async function lossesOf(
  model: BaseModel | TunedModel,
  examples: readonly Example[],
  strategy: 'instruct' | 'non-instruct',
  tell: Tell,
): Promise<readonly RowLoss[]> {
  if (examples.length === 0) return [];
  const maxLength = Math.min(MAX_LENGTH, model.spec.maxPositions);
  const options = { strategy, maxLength, packing: true, batchSize: 1, onProgress: tell };
  return (await evaluate(model, examples, options))!.examples;
}
