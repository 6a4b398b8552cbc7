/** @file The end of a blind test: who won, and whether it was the place or the answer. */
import type { BlindTest, Side } from '../contract/entities.ts';
import { countVotes } from '../evaluation/votes.ts';
import type { BlindItem } from './blind.ts';

type Reveal = NonNullable<BlindTest['reveal']>;

export function revealOf(
  at: string,
  targets: readonly [string, string],
  labels: readonly [string, string],
  items: readonly BlindItem[],
): Reveal {
  const judged = items.filter((item) => item.vote !== null);
  const chosen = ({ vote, first }: BlindItem): number | null =>
    vote === 'one' ? first : vote === 'two' ? 1 - first : null;
  const votes = [0, 1].map((model) => judged.filter((item) => chosen(item) === model).length);
  const leader = votes[1]! > votes[0]! ? 1 : 0;
  const other = leader === 0 ? 1 : 0;
  const named = (model: 0 | 1): Reveal['models'][number] => ({
    target: targets[model],
    label: labels[model],
    votes: votes[model]!,
  });
  /** Of the choices in which the leader had this place. */
  const wonAt = (side: Side): { won: number; of: number } => {
    const there = judged.filter((item) => chosen(item) !== null && (item.first === leader) === (side === 'one'));
    return { won: there.filter((item) => chosen(item) === leader).length, of: there.length };
  };
  return {
    at,
    models: [named(leader), named(other)],
    byPlace: { one: wonAt('one'), two: wonAt('two') },
    sentence: sentenceOf(named(leader), named(other), judged.length),
    items: judged.map(({ number, asked, first, shown, vote, why, voted_at: when }) => ({
      number,
      prompt: asked,
      one: { target: targets[first], text: shown?.one ?? '' },
      two: { target: targets[first === 0 ? 1 : 0], text: shown?.two ?? '' },
      vote: vote!,
      why,
      at: when ?? at,
    })),
  };
}

function sentenceOf(leader: Reveal['models'][number], other: Reveal['models'][number], judged: number): string {
  const { settled, ties, p } = countVotes(leader.votes, other.votes, judged - leader.votes - other.votes);
  const without = ties === 0 ? '' : ties === 1 ? ' One made no difference.' : ` ${ties} made no difference.`;
  if (leader.votes === other.votes)
    return `Neither was chosen more often: ${leader.votes} to ${other.votes}.${without}`;
  const figures = `${leader.label}, ${leader.votes} to ${other.votes}`;
  return settled
    ? `You prefer ${figures}.${without}`
    : `More votes went to ${figures}, and so much can be chance (p = ${p.toFixed(2)}).${without}`;
}
