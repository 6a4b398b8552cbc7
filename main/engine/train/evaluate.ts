/** @file Loss on held-out examples: the mean over labelled tokens, and each example's share for margins of error. */
import { FettleError } from '../../contract/errors.ts';
import type { Recipe } from '../../contract/recipe.ts';
import type { Example, Trainable } from '../types.ts';
import { assembleBatch } from './batches.ts';
import { fitExamples, labelledCount, packRows } from './packing.ts';

/** exp(loss); a loss beyond 709 nats gives the largest number there is, since JSON knows no infinity. */
export const perplexityOf = (loss: number): number => Math.min(Number.MAX_VALUE, Math.exp(loss));

/** Summed negative log likelihood in nats, over `count` labelled tokens. */
export interface ExampleLoss {
  readonly sum: number;
  readonly count: number;
}

export interface Evaluation {
  /** Mean negative log likelihood of the labelled tokens, in nats. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Labelled tokens. */
  readonly tokens: number;
  /** One for each example given, in order; count 0 where none of its tokens within maxLength carries loss. */
  readonly examples: readonly ExampleLoss[];
}

export type EvaluateOptions = Pick<Recipe, 'strategy' | 'maxLength' | 'packing' | 'batchSize'> & {
  /** Asked between batches; true gives the evaluation up. */
  readonly abandon?: () => boolean;
  /** Share of the batches done, 0 to 1. */
  readonly onProgress?: (share: number) => void;
};

/**
 * Measures a model as it is. Examples longer than maxLength are cut (instruct) or split (non-instruct) as in training.
 * That length may go beyond what the model was made for, as a run's may where positions are not learned; who measures by
 * no run's recipe keeps it within `spec.maxPositions`.
 * @returns null where it was abandoned. Throws DATA_EMPTY where no given token carries loss.
 */
export async function evaluate(
  model: Pick<Trainable, 'losses'>,
  given: readonly Example[],
  options: EvaluateOptions,
): Promise<Evaluation | null> {
  const { maxLength, batchSize } = options;
  const fitted = fitExamples(given, maxLength, options.strategy === 'instruct' ? 'cut' : 'split');
  if (fitted.examples.length === 0)
    throw given.some((example) => labelledCount(example) > 0)
      ? new FettleError(
          'DATA_EMPTY',
          `Of every held-out example what is measured lies beyond ${maxLength} tokens.`,
          'Raise maxLength, or hold out shorter rows.',
        )
      : new FettleError('DATA_EMPTY', 'No held-out example has tokens to measure.', 'Hold out more rows.');
  const lengths = fitted.examples.map((example) => example.ids.length);
  const rows = options.packing ? packRows(lengths, maxLength) : lengths.map((_, index) => [index]);
  const examples = given.map(() => ({ sum: 0, count: 0 }));
  for (let start = 0; start < rows.length; start += batchSize) {
    if (options.abandon?.()) return null;
    const batchRows = rows.slice(start, start + batchSize);
    const batch = assembleBatch(
      batchRows.map((row) => row.map((index) => fitted.examples[index]!)),
      maxLength,
    );
    const losses = await model.losses(batch);
    // The losses come in the order of the labels, which is that of the examples along the rows.
    let at = 0;
    for (const index of batchRows.flat()) {
      const share = examples[fitted.sources[index]!]!;
      for (const end = at + labelledCount(fitted.examples[index]!); at < end; at++) {
        share.sum += losses[at]!;
        share.count++;
      }
    }
    options.onProgress?.(Math.min(1, (start + batchSize) / rows.length));
  }
  const sum = examples.reduce((total, example) => total + example.sum, 0);
  const tokens = examples.reduce((total, example) => total + example.count, 0);
  return { loss: sum / tokens, perplexity: perplexityOf(sum / tokens), tokens, examples };
}
