/** @file Child process: a learning curve. The same training on a quarter, half and all of a slice of the data, measured on the same unseen rows. */
import { createHash } from 'node:crypto';
import type { LearningCurve } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { fitExamples } from '../engine/train/packing.ts';
import type { Example } from '../engine/types.ts';
import { meanLoss, measure, type RowLoss } from '../evaluation/bootstrap.ts';
import { atItsBest, curveInWords, fit, PARTS, type Tried } from '../pilots/learning-curve.ts';
import { runChild } from './child.ts';
import { loadModel } from './load.ts';
import { labelledTokens, readExamples, TrialRun, type LessonJob, type TrialEvent, type TrialJob } from './trial.ts';

export interface CurveJob extends TrialJob {
  readonly lesson: LessonJob;
  readonly dataset: { readonly id: string; readonly name: string };
}
type Result = NonNullable<LearningCurve['result']>;

/** Each training is looked at so often, since a small part has learned all it can before its tokens are used up. */
const LOOKS = 2;
/** Of a training on all of the slice, at most. */
const PASSES = 3;
/** Fewer say nothing: a quarter must hold some rows. */
const LEAST_ROWS = 16;
const LEAST_HELD_OUT = 4;

runChild<CurveJob, TrialEvent, Result>(async (job, context) => {
  const trial = new TrialRun(job, context);
  trial.tell('Loading the model', 0);
  const loaded = await loadModel(job.model, job.threads);
  try {
    const { recipe } = job.lesson;
    const instruct = recipe.strategy === 'instruct';
    const text = { tokenizer: loaded.files.tokenizer, template: loaded.template };
    const read = await readExamples(job.lesson.rows, text);
    /** Text is learned from in pieces, so that three books are more than three rows. */
    const pieces = (given: readonly Example[]): Example[] => [
      ...fitExamples(given, job.maxLength, instruct ? 'cut' : 'split').examples,
    ];
    const all = shuffled(pieces(read.train));
    const unseen = shuffled(pieces(read.heldOut));
    if (all.length < LEAST_ROWS || unseen.length < LEAST_HELD_OUT)
      throw new FettleError(
        'DATA_EMPTY',
        `A learning curve needs at least ${LEAST_ROWS} ${instruct ? 'examples' : 'pieces of text'} to train on and ${LEAST_HELD_OUT} held out; these data have ${all.length} and ${unseen.length}.`,
        'Bring more, or hold out a larger share.',
      );
    const lesson = { examples: all, recipe };
    trial.tell('Measuring the speed of this machine', 0.02);
    await trial.pace(loaded.base, lesson);
    const heldOut = upTo(unseen, trial.lookTokens(1 + PARTS.length * LOOKS));
    const sets = [{ examples: heldOut, instruct }];
    const look = async (model: Parameters<TrialRun['look']>[0]): Promise<RowLoss[]> =>
      (await trial.look(model, sets))[0]!;

    trial.tell('Measuring the model as it is', 0.06);
    const base = await look(loaded.base);
    const borne = trial.budget({ lessons: PARTS.length, looks: PARTS.length * LOOKS });
    // All of the slice is read at least once; what the budget does not reach is left out of the trial.
    const slice = upTo(all, borne);
    const budget = Math.min(borne, PASSES * tokensOf(slice));
    const tried: (Tried & { readonly tokens: number })[] = [];
    for (const [i, { size, from }] of PARTS.entries()) {
      const share = Math.round(100 * size * (slice.length / all.length));
      trial.tell(`Trying ${share < 1 ? 'under 1' : share}% of the data`, 0.1 + (0.9 * i) / PARTS.length);
      const examples = slice.slice(Math.round(from * slice.length), Math.round((from + size) * slice.length));
      const looks = [base];
      await trial.teach(loaded.base, { examples, recipe }, budget, `part-${i}`, {
        times: LOOKS,
        look: async (model) => void looks.push(await look(model)),
      });
      tried.push({ rows: examples.length, tokens: tokensOf(examples), losses: atItsBest(looks) });
    }

    const line = fit(tried);
    const gain = measure([base, tried.at(-1)!.losses]).differences[0]!;
    return {
      dataset: job.dataset,
      strategy: recipe.strategy,
      budget,
      all: { rows: all.length, tokens: tokensOf(all) },
      heldOut: { rows: heldOut.length, tokens: labelledTokens(heldOut) },
      base: measure([base]).losses[0]!,
      points: [...new Set(PARTS.map(({ size }) => size))].map((size) => {
        const same = tried.filter((_, i) => PARTS[i]!.size === size);
        return {
          share: same[0]!.rows / all.length,
          rows: same[0]!.rows,
          tokens: same[0]!.tokens,
          loss: measure([mean(same.map(({ losses }) => losses))]).losses[0]!,
          losses: same.map(({ losses }) => meanLoss(losses)),
        };
      }),
      forecast: [1, 2].map((times) => ({
        share: (times * slice.length) / all.length,
        rows: times * slice.length,
        loss: line.at(times * slice.length),
      })),
      doubling: line.doubling,
      ...curveInWords(line.doubling, gain, {
        tried: slice.length,
        all: all.length,
        words: instruct ? 'examples' : 'pieces of text',
      }),
    };
  } finally {
    await loaded.close();
  }
});

const tokensOf = (examples: readonly Example[]): number => examples.reduce((sum, { ids }) => sum + ids.length, 0);

/** The first examples, as many as have so many tokens; at least LEAST_ROWS. */
function upTo(examples: readonly Example[], tokens: number): Example[] {
  let [count, sum] = [0, 0];
  while (count < examples.length && (sum < tokens || count < LEAST_ROWS)) sum += examples[count++]!.ids.length;
  return examples.slice(0, count);
}

/** An order that depends on what the examples hold alone, so that the same data give the same parts. */
function shuffled(examples: readonly Example[]): Example[] {
  return examples
    .map((example) => ({ example, key: createHash('sha256').update(example.ids).digest('hex') }))
    .sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)))
    .map(({ example }) => example);
}

function mean(trainings: readonly (readonly RowLoss[])[]): RowLoss[] {
  return trainings[0]!.map(({ count }, row) => ({
    count,
    sum: trainings.reduce((sum, losses) => sum + losses[row]!.sum, 0) / trainings.length,
  }));
}
