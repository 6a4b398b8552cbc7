/** @file The scorecard: from the scores of single items to figures with margins, verdicts and sentences. Pure. */
import type { Check, DifferenceVerdict, Measured, Scorecard } from '../contract/entities.ts';
import { measure } from './bootstrap.ts';
import { holm, signFlip } from './significance.ts';

/** One item, and each model's answer to it with its score, 0 to 1. */
export interface ScoredItem {
  readonly id: string;
  readonly prompt: string;
  readonly expected: string;
  readonly answers: readonly {
    readonly text: string;
    readonly score: number;
    readonly why: string;
    /** Of each check, where there are several. */
    readonly checks?: number[];
  }[];
}
export interface ScoredSkill {
  readonly skill: string;
  readonly items: readonly ScoredItem[];
}

/** Shares of items, of each model and the difference of each further one to the first. */
function figures(items: readonly ScoredItem[], models: number): { scores: Measured[]; differences: Measured[] } {
  const of = Array.from({ length: models }, (_, m) =>
    items.map(({ answers }) => ({ sum: answers[m]!.score, count: 1 })),
  );
  const { losses, differences } = measure(of);
  const n = items.length;
  return {
    scores: losses.map((each) => notBare(each, n, 0, 1)),
    differences: differences.map((each) => notBare(each, n, -1, 1)),
  };
}

/**
 * Where all items came out alike no resample differs, and the bootstrap knows no margin: then that of none in n is
 * taken, after which a share of 1 - 0.025^(1/n) could still have been missed (Clopper and Pearson 1934).
 */
function notBare(figure: Measured, n: number, least: number, most: number): Measured {
  const { value, low, high } = figure;
  if (high - low > 1e-12 || n === 0) return figure;
  const missed = 1 - 0.025 ** (1 / n);
  return { value, low: Math.max(least, value - missed), high: Math.min(most, value + missed) };
}

const pOf = (items: readonly ScoredItem[], model: number): number =>
  signFlip(items.map(({ answers }) => answers[model]!.score - answers[0]!.score));

type Verdict = DifferenceVerdict;
/** The margin must hold no zero, and the test must say so too: both, so that neither's weakness is told as a find. */
const verdict = ({ value, low, high }: Measured, told: boolean): Verdict =>
  !told || (low <= 0 && high >= 0) ? 'no-difference' : value > 0 ? 'better' : 'worse';

interface Figures {
  readonly scores: Measured[];
  readonly differences: Measured[];
  readonly verdicts: Verdict[];
}

/** Sets of items judged together: their verdicts are corrected for their number. Of each model they are a family of their own. */
function family(sets: readonly (readonly ScoredItem[])[], models: number): Figures[] {
  const others = Array.from({ length: models - 1 }, (_, i) => i + 1);
  const told = others.map((m) => holm(sets.map((items) => pOf(items, m))));
  return sets.map((items, s) => {
    const { scores, differences } = figures(items, models);
    return { scores, differences, verdicts: others.map((_, i) => verdict(differences[i]!, told[i]![s]!)) };
  });
}

/**
 * @param labels of the models, the base or what is compared against first.
 * @param prose losses on other text, each against the first; lower is better.
 */
export function scorecardOf(
  labels: readonly string[],
  goal: { readonly checks: readonly Check[]; readonly items: readonly ScoredItem[] } | null,
  skills: readonly ScoredSkill[],
  prose: Scorecard['prose'],
): Scorecard {
  const models = labels.length;
  const counted = skills.filter(({ items }) => items.length > 0);
  const bySkill = family(
    counted.map(({ items }) => items),
    models,
  );
  const all = counted.flatMap(({ items }) => items);
  const card: Omit<Scorecard, 'sentences'> = {
    goal: goal && goal.items.length > 0 ? goalOf(goal, models) : null,
    general: all.length > 0 ? { count: all.length, ...family([all], models)[0]! } : null,
    skills: counted.map(({ skill, items }, s) => ({ skill, items: items.map(itemOf), ...bySkill[s]! })),
    prose,
  };
  return { ...card, sentences: labels.slice(1).map((label, i) => sentence(card, i, label, labels[0]!)) };
}

function goalOf(
  { checks, items }: { readonly checks: readonly Check[]; readonly items: readonly ScoredItem[] },
  models: number,
): NonNullable<Scorecard['goal']> {
  const together = family([items], models)[0]!;
  const one = (check: number): ScoredItem[] =>
    items.map((item) => ({
      ...item,
      answers: item.answers.map((answer) => ({ ...answer, score: answer.checks?.[check] ?? answer.score })),
    }));
  const each =
    checks.length === 1
      ? [together]
      : family(
          checks.map((_, c) => one(c)),
          models,
        );
  return { ...together, items: items.map(itemOf), checks: checks.map((check, c) => ({ check, ...each[c]! })) };
}

const itemOf = ({ id, prompt, expected, answers }: ScoredItem): Scorecard['skills'][number]['items'][number] => ({
  id,
  prompt,
  expected,
  answers: answers.map((answer) => ({ ...answer })),
});

const points = ({ value, low, high }: Measured): string => {
  const signed = (share: number): string => `${share < 0 ? '−' : '+'}${Math.abs(Math.round(100 * share))}`;
  return `${signed(value)} points (${signed(low)} to ${signed(high)})`;
};

const nats = ({ value, low, high }: Measured): string => {
  const signed = (loss: number): string => `${loss < 0 ? '−' : '+'}${Math.abs(loss).toFixed(3)}`;
  return `${signed(value)} nats a token (${signed(low)} to ${signed(high)})`;
};

function sentence(card: Omit<Scorecard, 'sentences'>, i: number, label: string, against: string): string {
  const { goal, general, skills, prose } = card;
  const moved = (way: 'better' | 'worse'): string =>
    skills
      .filter(({ verdicts }) => verdicts[i] === way)
      .toSorted((a, b) => Math.abs(b.differences[i]!.value) - Math.abs(a.differences[i]!.value))
      .map(({ skill, differences }) => `${skill} ${points(differences[i]!)}`)
      .join(', ');
  const [gained, lost] = [moved('better'), moved('worse')];
  const text = prose?.differences[i];
  const read = prose?.verdicts[i];
  return [
    goal
      ? goal.verdicts[i] === 'no-difference'
        ? `On your task no difference between ${label} and ${against} that we can measure: ${points(goal.differences[i]!)}.`
        : `${label} is ${goal.verdicts[i]} at your task than ${against}: ${points(goal.differences[i]!)}.`
      : '',
    general
      ? general.verdicts[i] === 'no-difference'
        ? `On general skills no difference that we can measure: ${points(general.differences[i]!)}.`
        : `On general skills ${points(general.differences[i]!)}.`
      : '',
    lost ? `Lost: ${lost}.` : '',
    gained ? `Gained: ${gained}.` : '',
    text
      ? read === 'no-difference'
        ? `On other text no difference of its loss that we can measure: ${nats(text)}.`
        : `On other text its loss ${read === 'worse' ? 'rose' : 'fell'}: ${nats(text)}.`
      : '',
  ]
    .filter((part) => part !== '')
    .join(' ');
}
