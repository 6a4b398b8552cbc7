/** @file Child process: what a base model already does on a project's held-out examples, before anything is tuned. */
import type { BaseMeasure } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { generate } from '../engine/generate/generate.ts';
import { chatPrompt } from '../engine/train/examples.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { measure } from '../evaluation/bootstrap.ts';
import { exactMatch, tokenF1 } from '../evaluation/grade.ts';
import { runChild } from './child.ts';
import { loadModel } from './load.ts';

export interface MeasureJob {
  readonly model: string;
  readonly rows: string;
  readonly threads: number;
}
export interface MeasureEvent {
  readonly stage: string;
  readonly share: number;
}
export type MeasureResult = Omit<BaseMeasure, 'model' | 'dataset' | 'at'>;

/** Rows whose loss is measured, and questions that are answered: some minutes on two cores for a small model. */
const LOSS_ROWS = 64;
const ASKED = 12;
const ANSWER_TOKENS = 96;
const MAX_LENGTH = 1024;

runChild<MeasureJob, MeasureEvent, MeasureResult>(async (job, { emit, signal }) => {
  const heldOut: StoredRow[] = [];
  for await (const row of readRows(job.rows)) {
    if (row.split === 'held-out') heldOut.push(row);
    if (heldOut.length === LOSS_ROWS) break;
  }
  emit({ stage: 'Loading the model', share: 0 });
  const { files, template, base, close } = await loadModel(job.model, job.threads);
  try {
    const text: TextModel = { tokenizer: files.tokenizer, template };
    const evaluation = await evaluate(
      base,
      heldOut.map((row) => exampleOf(row, text)),
      {
        strategy: 'instruct',
        maxLength: MAX_LENGTH,
        packing: true,
        batchSize: 1,
        abandon: () => signal.aborted,
        onProgress: (share) => emit({ stage: 'Measuring its loss on unseen examples', share: share / 2 }),
      },
    );
    const answers: BaseMeasure['answers'] = [];
    const decoder = base.generator();
    const asked = heldOut.flatMap((row) => {
      const last = row.messages?.at(-1);
      return last?.role === 'assistant' ? [{ messages: row.messages!.slice(0, -1), expected: last.content }] : [];
    });
    for (const { messages, expected } of asked.slice(0, ASKED)) {
      if (signal.aborted) break;
      emit({ stage: 'Letting it answer', share: 0.5 + answers.length / ASKED / 2 });
      const { tokenizer } = files;
      const ids = chatPrompt(messages, { tokenizer, template });
      const said = await generate({
        decoder,
        tokenizer,
        ids,
        stopIds: files.stopIds,
        maxTokens: ANSWER_TOKENS,
        signal,
      });
      const prompt = messages.findLast((turn) => turn.role === 'user')?.content ?? '';
      answers.push({ prompt, expected, answer: said.text, f1: tokenF1(said.text, expected) });
    }
    await decoder.release();
    if (!evaluation || signal.aborted) throw new FettleError('CANCELLED', 'Measuring was cancelled.', 'Measure again.');
    const [f1 = null] = answers.length > 0 ? measure([answers.map((it) => ({ sum: it.f1, count: 1 }))]).losses : [];
    return {
      rows: heldOut.length,
      loss: measure([evaluation.examples]).losses[0]!,
      f1,
      exact: answers.filter((it) => exactMatch(it.answer, it.expected)).length,
      answers,
    };
  } finally {
    await close();
  }
});
