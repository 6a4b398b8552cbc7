/** @file What a pilot says, in one paragraph: which way is measurably best on the goal, and what it costs elsewhere. */
import type { Measured, Pilot } from '../contract/entities.ts';
import type { Way } from '../contract/recipe.ts';

type Result = NonNullable<Pilot['result']>;

const NAMES: Readonly<Record<Way, string>> = {
  instruct: 'Instruct tuning',
  'non-instruct': 'Non-instruct tuning',
  staged: 'Both in stages',
};
const figure = ({ value, low, high }: Measured): string =>
  `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)} nats a token (${low.toFixed(3)} to ${high.toFixed(3)})`;

/**
 * @param lead difference on the goal of the best way to the second, with its margin; null where there is one way only.
 * A way is best only where that margin holds no zero, and where it is better than the model as it is.
 */
export function verdictInWords(
  arms: Result['arms'],
  first: Way | undefined,
  second: Way | undefined,
  lead: Measured | null,
): Pick<Result, 'best' | 'sentence'> {
  const arm = arms.find(({ way }) => way === first);
  const gain = arm?.differences[0];
  if (!first || !arm || !gain) return { best: null, sentence: 'There was nothing to try.' };
  const cost = arm.differences.at(-1);
  const better = (other: Way): boolean => (arms.find(({ way }) => way === other)?.differences[0]?.high ?? 0) < 0;
  const elsewhere = !cost
    ? ''
    : cost.low > 0
      ? ` On other text it got worse by ${figure(cost)}.`
      : cost.high < 0
        ? ` On other text it got better too, by ${figure(cost)}.`
        : ' On other text no difference can be measured.';
  if (gain.high >= 0)
    return {
      best: null,
      sentence: `On so few tokens no way made the model measurably better at your goal; ${NAMES[first].toLowerCase()} came nearest with ${figure(gain)}.${elsewhere}`,
    };
  if (lead && second && lead.high >= 0)
    return {
      best: null,
      sentence: `No difference that we can measure between ${NAMES[first].toLowerCase()} and ${NAMES[second].toLowerCase()}: ${figure(lead)} on your goal. ${better(second) ? 'Both were' : `Only ${NAMES[first].toLowerCase()} was measurably`} better than the model as it is.${elsewhere}`,
    };
  return {
    best: first,
    sentence: `${NAMES[first]} was best on your goal: ${figure(gain)} against the model as it is${lead && second ? `, ${figure(lead)} against ${NAMES[second].toLowerCase()}` : ''}.${elsewhere}`,
  };
}
