/**
 * @file The learning curve: which parts of the data are tried, and what their losses say of more. Pure.
 *
 * The loss is taken to fall by the same amount at each doubling of the data: a straight line over ln n, which a power
 * law looks like over a short range (docs/decisions/learning-curve.md). It is fitted by least squares.
 */
import type { LearningCurve, Measured } from '../contract/entities.ts';
import { meanLoss, measure, type RowLoss } from '../evaluation/bootstrap.ts';

type Result = NonNullable<LearningCurve['result']>;

/** A training on part of the rows: from `from` to `to`, shares of the slice in its shuffled order. */
export interface Part {
  readonly size: number;
  readonly from: number;
}
/** Two quarters that share no row, each within the half with the same beginning, and all: what two parts of a size differ by is the noise of one. */
export const PARTS: readonly Part[] = [
  { size: 0.25, from: 0 },
  { size: 0.25, from: 0.5 },
  { size: 0.5, from: 0 },
  { size: 0.5, from: 0.5 },
  { size: 1, from: 0 },
];
/** Losses of one training on the held-out rows, and how many rows it learned from. */
export interface Tried {
  readonly rows: number;
  readonly losses: readonly RowLoss[];
}

/**
 * A training is ended where it does best on unseen rows, and the same rows must not judge it: rows with an even number
 * choose the moment for the odd ones, and the other way round (cross-fitting).
 * @param looks the held-out rows' losses at several moments, in the same order of rows.
 */
export function atItsBest(looks: readonly (readonly RowLoss[])[]): RowLoss[] {
  const half = (rows: readonly RowLoss[], parity: number): RowLoss[] => rows.filter((_, i) => i % 2 === parity);
  const best = [0, 1].map((parity) =>
    looks.reduce((best, look) => (meanLoss(half(look, 1 - parity)) < meanLoss(half(best, 1 - parity)) ? look : best)),
  );
  return looks[0]!.map((_, i) => best[i % 2]![i]!);
}

/** Two-sided 97.5% points of Student's t by degrees of freedom, from 1. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571];

/**
 * The line through the trainings, and what it says.
 *
 * Each figure is linear in the trainings' losses, so its margin has two parts, added in quadrature: of the held-out
 * rows, by the bootstrap over the same combination of each row's losses; and of the trainings, by the residuals of the
 * fit (k trainings, k - 2 degrees of freedom), which hold the luck of the draw, of the order, and a curve that is no line.
 */
export function fit(tried: readonly Tried[]): {
  /** Of twice the rows, in nats a token. */
  readonly doubling: Measured;
  /** The loss that a training on so many rows would have. */
  readonly at: (rows: number) => Measured;
} {
  const x = tried.map(({ rows }) => Math.log(rows));
  const y = tried.map(({ losses }) => meanLoss(losses));
  const k = tried.length;
  const meanX = x.reduce((a, b) => a + b, 0) / k;
  const spread = x.reduce((sum, value) => sum + (value - meanX) ** 2, 0);
  /** Weights of the losses in the value of the line at ln n = at, and in its slope. */
  const slope = x.map((value) => (value - meanX) / spread);
  const line = (at: number): number[] => slope.map((weight) => 1 / k + (at - meanX) * weight);
  const residuals = y.map((value, i) => value - dot(line(x[i]!), y));
  const noise = Math.sqrt(dot(residuals, residuals) / Math.max(1, k - 2));
  const t = STUDENT[Math.max(1, k - 2) - 1] ?? 2;

  /** @param own variance of one more training, in units of the noise: 1 where a training is forecast, 0 for the line itself. */
  const figure = (weights: readonly number[], own: number): Measured => {
    const rows = tried[0]!.losses.map(({ count }, row) => ({
      count,
      sum: dot(
        weights,
        tried.map(({ losses }) => losses[row]!.sum),
      ),
    }));
    const { value, low, high } = measure([rows]).losses[0]!;
    const half = t * noise * Math.sqrt(dot(weights, weights) + own);
    return { value, low: value - Math.hypot(value - low, half), high: value + Math.hypot(high - value, half) };
  };
  return {
    doubling: figure(
      slope.map((weight) => weight * Math.LN2),
      0,
    ),
    at: (rows) => figure(line(Math.log(rows)), 1),
  };
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

/** Below this a doubling is not worth collecting for: 2% of perplexity. Reasoning, not a source: docs/decisions/learning-curve.md. */
export const LITTLE = 0.02;
/** Of all the data must have been tried before anything is said of all: two doublings are as far as the line is believed. */
export const REACHED = 0.25;

/**
 * @param gain what training on the whole slice changed against the model as it is.
 * @param rows of the slice and of all the dataset's training data, and what they are called.
 */
export function curveInWords(
  doubling: Measured,
  gain: Measured,
  rows: { readonly tried: number; readonly all: number; readonly words: string },
): Pick<Result, 'verdict' | 'sentence'> {
  const range = `${signed(doubling.low)} to ${signed(doubling.high)}`;
  const count = (value: number): string => value.toLocaleString('en');
  const twice = `${count(2 * rows.all)} ${rows.words} instead of ${count(rows.all)}`;
  const reached = rows.tried / rows.all;
  if (gain.high >= 0)
    return {
      verdict: 'no-gain',
      sentence: `Training on these data did not make the model measurably better at unseen rows (${signed(gain.value)} nats a token, ${signed(gain.low)} to ${signed(gain.high)}), so nothing can be said of more of them. Try more minutes, or look at the data first.`,
    };
  if (reached < REACHED)
    return {
      verdict: 'unclear',
      sentence: `In this time ${count(rows.tried)} of ${count(rows.all)} ${rows.words} could be tried. Up to there a doubling changes the loss on unseen rows by about ${signed(doubling.value)} nats a token (${range}); that is too few to speak of all. More minutes reach more.`,
    };
  if (doubling.high < 0 && doubling.value <= -LITTLE)
    return {
      verdict: 'helps',
      sentence: `More of the same would help: with ${twice}, the loss on unseen rows would fall by about ${(-doubling.value).toFixed(3)} nats a token (${range}), perplexity by about ${Math.round(100 * (1 - Math.exp(doubling.value)))}%.`,
    };
  if (doubling.low > -LITTLE || (doubling.high < 0 && doubling.value > -LITTLE))
    return {
      verdict: 'hardly',
      sentence: `More of the same would hardly help: ${twice} would change the loss on unseen rows by about ${signed(doubling.value)} nats a token (${range}). Data of another kind, or another way of tuning, can still help.`,
    };
  return {
    verdict: 'unclear',
    sentence: `Whether more of the same would help cannot be told from this: ${twice} would change the loss on unseen rows by ${range} nats a token. ${reached < 1 ? 'More minutes' : 'More unseen rows'} make it clearer.`,
  };
}
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
