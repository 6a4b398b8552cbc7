/** @file Rows to batches, and which batches make up each step of each epoch: a function of the recipe, the seed and the step alone. */
import { createHash } from 'node:crypto';
import { FettleError } from '../../contract/errors.ts';
import type { Recipe } from '../../contract/recipe.ts';
import { roundedLength } from '../model/microbatch.ts';
import { Random } from '../random.ts';
import type { Batch, Example } from '../types.ts';
import { fitExamples, labelledCount, packRows } from './packing.ts';

/** What the data come to under a recipe. */
export interface DataReport {
  /** Examples as given. */
  readonly examples: number;
  /** Tokens of one epoch, padding not counted. */
  readonly tokens: number;
  /** Tokens of one epoch that carry loss. */
  readonly labelled: number;
  readonly rows: number;
  readonly truncated: number;
  readonly split: number;
  readonly dropped: number;
}

export type BatchOptions = Pick<
  Recipe,
  'strategy' | 'maxLength' | 'packing' | 'batchSize' | 'gradientAccumulation' | 'shuffle' | 'seed'
>;

/** Where in the data a step lies. */
export interface DataPosition {
  readonly epoch: number;
  /** Step within the epoch, from 0. */
  readonly index: number;
}

/**
 * The examples of a run, packed once, and the batches of every step. Rows are shuffled anew each epoch by
 * (seed, epoch); nothing is kept between steps, so a resumed run finds its place from the step number.
 */
export class BatchPlan {
  readonly report: DataReport;
  /** Optimiser steps in one pass over the data; the last may have fewer or smaller batches. */
  readonly stepsPerEpoch: number;
  /** SHA-256 over tokens and marks, in order: tells whether a checkpoint belongs to these data. */
  readonly hash: string;
  readonly #examples: readonly Example[];
  readonly #rows: readonly (readonly number[])[];
  readonly #options: BatchOptions;

  /** Throws DATA_EMPTY where no example is left that carries loss. */
  constructor(given: readonly Example[], options: BatchOptions) {
    const fitted = fitExamples(given, options.maxLength, options.strategy === 'instruct' ? 'cut' : 'split');
    if (fitted.examples.length === 0)
      throw new FettleError(
        'DATA_EMPTY',
        given.length === 0 ? 'There are no training examples.' : 'No training example has tokens to learn from.',
        given.length === 0 ? 'Add data.' : `Raise maxLength (now ${options.maxLength}), or check what the rows hold.`,
      );
    const lengths = fitted.examples.map((example) => example.ids.length);
    this.#options = options;
    this.#examples = fitted.examples;
    this.#rows = options.packing ? packRows(lengths, options.maxLength) : lengths.map((_, index) => [index]);
    this.stepsPerEpoch = Math.ceil(this.#rows.length / (options.batchSize * options.gradientAccumulation));
    this.report = {
      examples: given.length,
      tokens: lengths.reduce((sum, length) => sum + length, 0),
      labelled: fitted.examples.reduce((sum, example) => sum + labelledCount(example), 0),
      rows: this.#rows.length,
      truncated: fitted.truncated,
      split: fitted.split,
      dropped: fitted.dropped,
    };
    this.hash = hashExamples(fitted.examples);
  }

  /** Optimiser steps of a run: maxSteps, or the epochs rounded up to whole steps. */
  totalSteps(recipe: Pick<Recipe, 'epochs' | 'maxSteps'>): number {
    return recipe.maxSteps ?? Math.max(1, Math.ceil(recipe.epochs * this.stepsPerEpoch));
  }

  /** Where step number `step` (from 0) lies. */
  position(step: number): DataPosition {
    return { epoch: Math.floor(step / this.stepsPerEpoch), index: step % this.stepsPerEpoch };
  }

  /** The batches of one step, at most gradientAccumulation of them. */
  step({ epoch, index }: DataPosition): Batch[] {
    const { batchSize, gradientAccumulation, maxLength } = this.#options;
    const order = this.#order(epoch);
    const start = index * batchSize * gradientAccumulation;
    const batches: Batch[] = [];
    for (let batch = 0; batch < gradientAccumulation; batch++) {
      const rows = order.slice(start + batch * batchSize, start + (batch + 1) * batchSize);
      if (rows.length > 0)
        batches.push(
          assembleBatch(
            rows.map((row) => this.#rows[row]!.map((example) => this.#examples[example]!)),
            maxLength,
          ),
        );
    }
    return batches;
  }

  #lastOrder: { readonly epoch: number; readonly order: readonly number[] } | undefined;

  #order(epoch: number): readonly number[] {
    if (this.#lastOrder?.epoch !== epoch) {
      const order = this.#rows.map((_, index) => index);
      // The golden ratio's multiples are far apart modulo 2^32, so neighbouring seeds and epochs do not meet.
      if (this.#options.shuffle) shuffle(order, new Random(this.#options.seed + Math.imul(epoch, 0x9e3779b1)));
      this.#lastOrder = { epoch, order };
    }
    return this.#lastOrder.order;
  }
}

/** Fisher and Yates (Durstenfeld 1964), in place. */
function shuffle(items: number[], random: Random): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.int(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}

function hashExamples(examples: readonly Example[]): string {
  const hash = createHash('sha256');
  for (const { ids, loss } of examples) {
    hash.update(new Int32Array([ids.length]));
    hash.update(ids);
    hash.update(loss);
  }
  return hash.digest('hex');
}

/**
 * One batch from rows of examples. The length is that of the longest row, rounded up as those of micro-batches are, at
 * most maxLength. The label at a position is the next token where that token carries loss and belongs to the same example.
 * Padding has id 0, position 0, document 0 and label -1.
 */
export function assembleBatch(rows: readonly (readonly Example[])[], maxLength: number): Batch {
  const used = rows.map((row) => row.reduce((sum, example) => sum + example.ids.length, 0));
  const longest = Math.max(...used);
  const length = Math.max(longest, Math.min(maxLength, roundedLength(longest)));
  const size = rows.length * length;
  const ids = new Int32Array(size);
  const positions = new Int32Array(size);
  const documents = new Int32Array(size);
  const labels = new Int32Array(size).fill(-1);
  let labelled = 0;
  for (const [r, row] of rows.entries()) {
    let at = r * length;
    for (const [d, example] of row.entries()) {
      ids.set(example.ids, at);
      for (let t = 0; t < example.ids.length; t++, at++) {
        positions[at] = t;
        documents[at] = d + 1;
        if (example.loss[t + 1]) {
          labels[at] = example.ids[t + 1]!;
          labelled++;
        }
      }
    }
  }
  return {
    rows: rows.length,
    length,
    ids,
    positions,
    documents,
    labels,
    tokens: used.reduce((sum, n) => sum + n, 0),
    labelled,
  };
}
