/** @file What the curve of a run says in words, while it learns and after. */
import type { RunSeries } from '../../state/run-series.ts';
import { count, loss } from '../../ui/format.ts';

export interface Health {
  readonly title: string;
  readonly text: string;
  readonly look: boolean;
}

/** Looks without gain before it is called to rest: as the advised early stopping. */
const RESTING = 2;

/** @param patience early stopping of the recipe, 0 for never. */
export function healthOf(series: RunSeries, patience: number): Health | null {
  const { evals, best } = series;
  const first = evals[0];
  const now = evals.at(-1);
  if (!first || !now || !best || evals.length < 2) return null;
  const since = evals.filter((each) => each.step > best.step).length;
  if (best.step === first.step)
    return {
      title: 'Not learning yet',
      text: `Loss on unseen examples has not fallen below its start, ${loss(first.loss)}. If that stays so, try a smaller step size.`,
      look: true,
    };
  if (since >= RESTING)
    return {
      title: 'Learned most of it, and perhaps done',
      text: `Loss on unseen examples was lowest at step ${count(best.step)} (${loss(best.loss)}).${patience > 0 ? ` After ${patience} looks without gain it stops by itself and keeps that step.` : ' Stopping now keeps that step.'}`,
      look: true,
    };
  return {
    title: 'Learning well',
    text: `Loss on unseen examples fell from ${loss(first.loss)} to ${loss(best.loss)}.`,
    look: false,
  };
}
