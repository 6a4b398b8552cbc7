/** @file What the rules of the verdict look at, taken from a comparison's figures and what the person said of the goal. Pure. */
import type {
  AdviceStrategy,
  Answers,
  ComparisonResult,
  DifferenceVerdict,
  LearningCurve,
  Measured,
} from '../../contract/entities.ts';
import type { Way } from '../../contract/recipe.ts';

export interface Seen {
  readonly label: string;
  readonly against: string;
  readonly strategy: Way;
  /** Measured against the very model that it was tuned from. */
  readonly toBase: boolean;
  readonly advised: AdviceStrategy | null;
  readonly overruled: boolean;
  readonly answers: Answers;
  /** Its answers to unseen questions, judged. Scores are shares, 0 to 1. */
  readonly goal: {
    readonly verdict: DifferenceVerdict;
    readonly difference: Measured;
    readonly before: number;
    readonly items: number;
    /** Held-out rows that could be asked besides; null where it is not known how many there are. */
    readonly left: number | null;
  } | null;
  /** The loss on unseen rows. */
  readonly loss: DifferenceVerdict | null;
  readonly general: {
    readonly verdict: DifferenceVerdict;
    readonly difference: Measured;
    /** Skills that were measurably lost, and gained, the most first. */
    readonly lost: readonly string[];
    readonly gained: readonly string[];
  } | null;
  /** The loss on other text. */
  readonly text: DifferenceVerdict | null;
  readonly rehearsal: number;
  readonly epochs: number;
  /** In place of epochs. */
  readonly maxSteps: number | null;
  readonly learningRate: number;
  /** The checkpoint lies past the best one of its run, from which the loss on unseen rows rose: that one's step. */
  readonly past: number | null;
  /** Its loss on unseen rows was still falling at the last look. */
  readonly falling: boolean;
  /** The best step came early in what was planned. */
  readonly early: boolean;
  readonly curve: NonNullable<LearningCurve['result']>['verdict'] | null;
}

/** Share of the planned steps. Reasoning: two thirds of the training then only took away again. */
const EARLY = 1 / 3;
/** By so much the loss must have risen again, relative to its lowest. Reasoning: less lies within what the looks differ by anyway. */
const ROSE = 0.01;

/** @param which of the further models, from 0; null where it is no run. */
export function seenOf(
  result: ComparisonResult,
  which: number,
  curve: NonNullable<LearningCurve['result']> | null,
): Seen | null {
  const [first, model] = [result.models[0], result.models[which + 1]];
  if (!first || !model?.run) return null;
  const { run } = model;
  const { goal, general, skills, prose } = result.scorecard ?? { goal: null, general: null, skills: [], prose: null };
  const moved = (way: DifferenceVerdict): string[] =>
    skills
      .filter(({ verdicts }) => verdicts[which] === way)
      .toSorted((a, b) => Math.abs(b.differences[which]!.value) - Math.abs(a.differences[which]!.value))
      .map(({ skill }) => skill.replaceAll('-', ' '));
  const { best, lastLoss, steps } = run;
  return {
    label: model.label,
    against: first.label,
    strategy: run.strategy,
    toBase: first.run === null && first.model.hash === model.model.hash,
    advised: run.advised,
    overruled: run.overruled,
    answers: result.answers,
    goal: goal && {
      verdict: goal.verdicts[which]!,
      difference: goal.differences[which]!,
      before: goal.scores[0]!.value,
      items: goal.items.length,
      left: result.heldOutRows > 0 ? Math.max(0, result.heldOutRows - goal.items.length) : null,
    },
    loss: result.differences[which]?.verdict ?? null,
    general: general && {
      verdict: general.verdicts[which]!,
      difference: general.differences[which]!,
      lost: moved('worse'),
      gained: moved('better'),
    },
    text: prose?.verdicts[which] ?? null,
    rehearsal: run.recipe.rehearsal,
    epochs: run.recipe.epochs,
    maxSteps: run.recipe.maxSteps ?? null,
    learningRate: run.recipe.learningRate,
    past:
      best !== null && lastLoss !== null && run.step > best.step && lastLoss > best.loss * (1 + ROSE)
        ? best.step
        : null,
    falling: best !== null && best.step > 0 && best.step >= steps,
    early: best !== null && best.step > 0 && best.step < EARLY * run.planned,
    curve: curve?.verdict ?? null,
  };
}

/** On the goal: by its answers where they were judged, else by the loss. */
export const onGoal = ({ goal, loss }: Seen): DifferenceVerdict | null => goal?.verdict ?? loss;

/** Something elsewhere was measurably lost. */
export const lostElsewhere = ({ general, text }: Seen): boolean =>
  general?.verdict === 'worse' || (general?.lost.length ?? 0) > 0 || text === 'worse';
