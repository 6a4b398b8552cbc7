/** @file Child process: what a base model already does on a project's held-out examples and prose, before anything is tuned. */
import type { BaseMeasure, ProseMeasure } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { readAt, RowIndex, type StoredRow } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { chatPrompt } from '../engine/train/examples.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { measure } from '../evaluation/bootstrap.ts';
import { exactMatch, tokenF1 } from '../evaluation/grade.ts';
import { runChild, type ChildContext } from './child.ts';
import { loadModel, type LoadedModel } from './load.ts';
import { spread } from './spread.ts';
import { answerAll } from './together.ts';

export interface MeasureJob {
  readonly model: string;
  /** rows.jsonl of the examples and of the prose; null where there are none, or they are measured already. */
  readonly pairs: string | null;
  readonly prose: string | null;
  readonly threads: number;
}
export interface MeasureEvent {
  readonly stage: string;
  readonly share: number;
}
export interface MeasureResult {
  readonly pairs: Omit<BaseMeasure, 'model' | 'dataset' | 'at'> | null;
  readonly prose: Omit<ProseMeasure, 'model' | 'dataset' | 'at'> | null;
}

/** Rows whose loss is measured, and questions that are answered: some minutes on two cores for a small model. */
const LOSS_ROWS = 64;
const ASKED = 16;
const ANSWER_TOKENS = 96;
/** Tokens of a row, where the model was made for as many. */
const MAX_LENGTH = 1024;
const readAtMost = ({ base }: LoadedModel): number => Math.min(MAX_LENGTH, base.spec.maxPositions);
/** Of long documents the beginning: some 8,000 tokens in all, which cost less than a few answers. */
const PROSE_DOCUMENTS = 16;
const PROSE_CHARACTERS = 2400;

type Report = (stage: string, share: number) => void;
type Signal = ChildContext<MeasureEvent>['signal'];

runChild<MeasureJob, MeasureEvent, MeasureResult>(async (job, { emit, signal }) => {
  const pairs = job.pairs === null ? [] : await heldOutOf(job.pairs, LOSS_ROWS);
  const prose = job.prose === null ? [] : await heldOutOf(job.prose, PROSE_DOCUMENTS);
  if (pairs.length + prose.length === 0)
    throw new FettleError('DATA_EMPTY', 'Nothing is held out to measure the model on.', 'Import more rows.');
  emit({ stage: 'Loading the model', share: 0 });
  const model = await loadModel(job.model, job.threads);
  // Answers take by far the longest, so prose is a tenth of the way where there are both.
  const split = pairs.length === 0 ? 1 : prose.length === 0 ? 0 : 0.1;
  try {
    const ofProse = prose.length === 0 ? null : await measureProse(model, prose, part(0, split), signal);
    const ofPairs = pairs.length === 0 ? null : await measurePairs(model, pairs, part(split, 1), signal);
    return { pairs: ofPairs, prose: ofProse };
  } finally {
    await model.close();
  }

  function part(from: number, to: number): Report {
    return (stage, share) => emit({ stage, share: from + (to - from) * share });
  }
});

/** Up to `count` held-out rows, evenly spread: files are often sorted. */
async function heldOutOf(rows: string, count: number): Promise<StoredRow[]> {
  const index = await RowIndex.open(rows);
  const all: number[] = [];
  for (let i = 0; i < index.count; i++) if (index.isHeldOut(i)) all.push(i);
  return readAt(rows, index, spread(all, count));
}

const textOf = ({ files, template }: LoadedModel): TextModel => ({ tokenizer: files.tokenizer, template });
const cancelled = (): FettleError => new FettleError('CANCELLED', 'Measuring was cancelled.', 'Measure again.');

async function measureProse(
  model: LoadedModel,
  documents: readonly StoredRow[],
  report: Report,
  signal: Signal,
): Promise<NonNullable<MeasureResult['prose']>> {
  const begun = documents.map((row) => ({ ...row, text: row.text?.slice(0, PROSE_CHARACTERS) ?? '' }));
  const evaluation = await evaluate(
    model.base,
    begun.map((row) => exampleOf(row, textOf(model))),
    {
      strategy: 'non-instruct',
      maxLength: readAtMost(model),
      packing: true,
      batchSize: 1,
      abandon: () => signal.aborted,
      onProgress: (share) => report('Measuring its loss on unseen prose', share),
    },
  );
  if (!evaluation || signal.aborted) throw cancelled();
  return {
    documents: documents.length,
    tokens: evaluation.tokens,
    loss: measure([evaluation.examples]).losses[0]!,
  };
}

async function measurePairs(
  model: LoadedModel,
  rows: readonly StoredRow[],
  report: Report,
  signal: Signal,
): Promise<NonNullable<MeasureResult['pairs']>> {
  const text = textOf(model);
  const evaluation = await evaluate(
    model.base,
    rows.map((row) => exampleOf(row, text)),
    {
      strategy: 'instruct',
      maxLength: readAtMost(model),
      packing: true,
      batchSize: 1,
      abandon: () => signal.aborted,
      onProgress: (share) => report('Measuring its loss on unseen examples', 0.4 * share),
    },
  );
  if (!evaluation || signal.aborted) throw cancelled();
  const answers = await answersTo(rows, model, (stage, share) => report(stage, 0.4 + 0.6 * share), signal);
  const grades = answers.map(({ f1 }) => ({ sum: f1, count: 1 }));
  return {
    rows: rows.length,
    loss: measure([evaluation.examples]).losses[0]!,
    f1: grades.length === 0 ? null : measure([grades]).losses[0]!,
    exact: answers.filter((it) => exactMatch(it.answer, it.expected)).length,
    answers,
  };
}

/** Greedy, so that the same model says the same again. */
async function answersTo(
  rows: readonly StoredRow[],
  { files, template, base }: LoadedModel,
  report: Report,
  signal: Signal,
): Promise<BaseMeasure['answers']> {
  const { tokenizer, stopIds } = files;
  const asked = spread(
    rows.flatMap(({ messages = [], tools }) => {
      const last = messages.at(-1);
      return last?.role === 'assistant' ? [{ messages: messages.slice(0, -1), tools, expected: last.content }] : [];
    }),
    ASKED,
  );
  const prompts = asked.map(({ messages, tools }) => ({
    ids: chatPrompt(messages, { tokenizer, template }, { tools }),
    maxTokens: ANSWER_TOKENS,
  }));
  const tell = (answered: number): void => {
    if (signal.aborted) throw cancelled();
    report(`Letting it answer: ${answered} of ${asked.length}`, answered / asked.length);
  };
  const said = await answerAll(base, prompts, { tokenizer, stopIds, signal, tell });
  return asked.map(({ messages, expected }, i) => {
    const prompt = messages.findLast((turn) => turn.role === 'user')?.content ?? '';
    const { text } = said[i]!;
    return { prompt, expected, answer: text, f1: tokenF1(text, expected) };
  });
}
