/** @file The scorecard: from the scores of single items to figures with margins, verdicts and sentences. Pure. */
import type { Check, DifferenceVerdict, Measured, Scorecard } from '../contract/entities.ts';
import { points, signed } from '../contract/figures.ts';
import { measure } from './bootstrap.ts';
import type { compareLosses } from './differences.ts';
import { holm, holmByAxes, signFlip } from './significance.ts';

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

type Figures = Pick<Scorecard['skills'][number], 'scores' | 'differences' | 'verdicts'>;
const othersOf = (models: number): number[] => Array.from({ length: models - 1 }, (_, i) => i + 1);

/** @param told of each further model, whether it can be told from chance. */
function judged(items: readonly ScoredItem[], models: number, told: readonly boolean[]): Figures {
  const { scores, differences } = figures(items, models);
  return { scores, differences, verdicts: differences.map((each, i) => verdict(each, told[i]!)) };
}

/** Losses on the same rows, and how each further model's differ from the first's. */
export type Losses = ReturnType<typeof compareLosses>;

/** What is asked of one further model: each answer says whether the difference can be told from chance. */
interface Told {
  readonly goal: boolean;
  readonly heldOut: boolean;
  readonly general: boolean;
  readonly skills: readonly boolean[];
  readonly text: boolean;
}

/**
 * Everything that a verdict reads of one model is one family (docs/decisions/verdict-rules.md): two axes, the goal (its
 * answers, its loss) and what lies elsewhere (all general skills, single skills, other text).
 */
function toldApart(
  model: number,
  goal: readonly ScoredItem[],
  skills: readonly ScoredSkill[],
  heldOut: Losses | null,
  text: Pick<Losses, 'ps'> | null,
): Told {
  const [all, eachSkill] = [skills.flatMap(({ items }) => items), skills.map(({ items }) => pOf(items, model))];
  const one = (items: readonly ScoredItem[]): number[] => (items.length > 0 ? [pOf(items, model)] : []);
  const loss = (of: Pick<Losses, 'ps'> | null): number[] => (of ? [of.ps[model - 1]!] : []);
  const parts = [one(goal), loss(heldOut), one(all), eachSkill, loss(text)];
  const fallen = holmByAxes([parts.slice(0, 2), parts.slice(2)]);
  const [goals, losses, generals, single, texts] = parts.map((ps) => fallen.splice(0, ps.length));
  const only = (of: readonly boolean[] | undefined): boolean => of?.[0] ?? false;
  return {
    goal: only(goals),
    heldOut: only(losses),
    general: only(generals),
    skills: single ?? [],
    text: only(texts),
  };
}

/** Less is better; told among all that is asked, or not at all. */
const lossVerdicts = ({ verdicts }: Losses, told: readonly boolean[]): Verdict[] =>
  verdicts.map((alone, i) => (told[i] ? alone : 'no-difference'));

/**
 * @param labels of the models, the base or what is compared against first.
 * @param prose losses on other text.
 * @param heldOut losses on rows of the goal's own data.
 * @returns the card, and the verdicts on `heldOut`, which are judged together with all that is on it.
 */
export function scorecardOf(
  labels: readonly string[],
  goal: { readonly checks: readonly Check[]; readonly items: readonly ScoredItem[] } | null,
  skills: readonly ScoredSkill[],
  prose: (Losses & Pick<NonNullable<Scorecard['prose']>, 'domains'>) | null,
  heldOut: Losses | null,
): { card: Scorecard; heldOut: Verdict[] } {
  const models = labels.length;
  const counted = skills.filter(({ items }) => items.length > 0);
  const told = othersOf(models).map((model) => toldApart(model, goal?.items ?? [], counted, heldOut, prose));
  const all = counted.flatMap(({ items }) => items);
  const by = (axis: Exclude<keyof Told, 'skills'>): boolean[] => told.map((each) => each[axis]);
  const card: Omit<Scorecard, 'sentences'> = {
    goal: goal && goal.items.length > 0 ? goalOf(goal, models, by('goal')) : null,
    general: all.length > 0 ? { count: all.length, ...judged(all, models, by('general')) } : null,
    skills: counted.map(({ skill, items }, s) => {
      const apart = told.map((each) => each.skills[s]!);
      return { skill, items: items.map(itemOf), ...judged(items, models, apart) };
    }),
    prose: prose && {
      losses: prose.losses,
      differences: prose.differences,
      verdicts: lossVerdicts(prose, by('text')),
      domains: prose.domains,
    },
  };
  return {
    card: { ...card, sentences: labels.slice(1).map((label, i) => sentence(card, i, label, labels[0]!)) },
    heldOut: heldOut ? lossVerdicts(heldOut, by('heldOut')) : [],
  };
}

function goalOf(
  { checks, items }: { readonly checks: readonly Check[]; readonly items: readonly ScoredItem[] },
  models: number,
  told: readonly boolean[],
): NonNullable<Scorecard['goal']> {
  const together = judged(items, models, told);
  const one = (check: number): ScoredItem[] =>
    items.map((item) => ({
      ...item,
      answers: item.answers.map((answer) => ({ ...answer, score: answer.checks?.[check] ?? answer.score })),
    }));
  const each =
    checks.length === 1
      ? [together]
      : eachCheck(
          checks.map((_, c) => one(c)),
          models,
        );
  return { ...together, items: items.map(itemOf), checks: checks.map((check, c) => ({ check, ...each[c]! })) };
}

/** No verdict reads them: they are corrected for their own number, of each model. */
function eachCheck(sets: readonly (readonly ScoredItem[])[], models: number): Figures[] {
  const told = othersOf(models).map((model) => holm(sets.map((items) => pOf(items, model))));
  return sets.map((items, s) => {
    const apart = told.map((each) => each[s]!);
    return judged(items, models, apart);
  });
}

const itemOf = ({ id, prompt, expected, answers }: ScoredItem): Scorecard['skills'][number]['items'][number] => ({
  id,
  prompt,
  expected,
  answers: answers.map((answer) => ({ ...answer })),
});

const inPoints = (share: Measured): string => {
  const { value, low, high } = points(share);
  return `${signed(value, 0)} points (${signed(low, 0)} to ${signed(high, 0)})`;
};

const inNats = ({ value, low, high }: Measured): string =>
  `${signed(value, 3)} nats a token (${signed(low, 3)} to ${signed(high, 3)})`;

function sentence(card: Omit<Scorecard, 'sentences'>, i: number, label: string, against: string): string {
  const { goal, general, skills, prose } = card;
  const moved = (way: 'better' | 'worse'): string =>
    skills
      .filter(({ verdicts }) => verdicts[i] === way)
      .toSorted((a, b) => Math.abs(b.differences[i]!.value) - Math.abs(a.differences[i]!.value))
      .map(({ skill, differences }) => `${skill} ${inPoints(differences[i]!)}`)
      .join(', ');
  const [gained, lost] = [moved('better'), moved('worse')];
  const text = prose?.differences[i];
  const read = prose?.verdicts[i];
  return [
    goal
      ? goal.verdicts[i] === 'no-difference'
        ? `On your task no difference between ${label} and ${against} that we can measure: ${inPoints(goal.differences[i]!)}.`
        : `${label} is ${goal.verdicts[i]} at your task than ${against}: ${inPoints(goal.differences[i]!)}.`
      : '',
    general
      ? general.verdicts[i] === 'no-difference'
        ? `On general skills no difference that we can measure: ${inPoints(general.differences[i]!)}.`
        : `On general skills ${inPoints(general.differences[i]!)}.`
      : '',
    lost ? `Lost: ${lost}.` : '',
    gained ? `Gained: ${gained}.` : '',
    text
      ? read === 'no-difference'
        ? `On other text no difference of its loss that we can measure: ${inNats(text)}.`
        : `On other text its loss ${read === 'worse' ? 'rose' : 'fell'}: ${inNats(text)}.`
      : '',
  ]
    .filter((part) => part !== '')
    .join(' ');
}
