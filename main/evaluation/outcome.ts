/** @file From what each model made of the same rows, questions and probes to what a comparison found. Pure. */
import type { Answer, Check, ComparisonResult, Scorecard, SuiteName } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { StoredRow } from '../datasets/rows.ts';
import { perplexityOf } from '../engine/train/evaluate.ts';
import type { ProbeScores } from '../workers/score.ts';
import { meanLoss, type RowLoss } from './bootstrap.ts';
import { judge, suggestCheck } from './checks.ts';
import { compareLosses, sentenceOf } from './differences.ts';
import type { ProbeSuite } from './probes.ts';
import { scorecardOf, type Losses, type ScoredItem } from './scorecard.ts';
import { DECODING, suitesOf } from './suites.ts';

export interface Measurement {
  /** Of each row; none where the held-out rows were not asked for. */
  readonly losses: readonly RowLoss[];
  readonly answers: readonly Answer[];
  readonly probes: ProbeScores;
}
export interface Asked {
  readonly prompt: string;
  readonly expected: string;
  readonly messages?: NonNullable<StoredRow['messages']>;
  readonly tools?: StoredRow['tools'];
}
/** What every model is measured on. */
export interface Subjects {
  readonly rows: readonly StoredRow[];
  readonly asked: readonly Asked[];
  /** Held-out rows that are not among them, since one of the models learned from them. */
  readonly learned: number;
  readonly suite: ProbeSuite | null;
}
/** What was asked for. */
interface Asking {
  readonly targets: readonly { readonly target: string; readonly label: string }[];
  readonly suites: readonly SuiteName[];
  readonly dataset: string;
  readonly prose: boolean;
  readonly unchecked: readonly string[];
  readonly maxLength: number;
  readonly checks: readonly Check[];
}
/** What is found in a result beside who was measured, and what is known of them. */
export type Outcome = Omit<ComparisonResult, 'version' | 'models' | 'settings' | 'answers'>;

/** Of a row's text so much is kept. */
const SHOWN = 160;

export function outcomeOf(job: Asking, measurements: readonly Measurement[], subjects: Subjects): Outcome {
  const { asked, suite } = subjects;
  const judged = checksFor(job, asked);
  const held = heldOutOf(measurements, subjects);
  const found = judged || suite ? cardOf(job, measurements, judged && { asked, checks: judged }, suite, held) : null;
  return {
    learned: { rows: subjects.learned, unchecked: [...job.unchecked] },
    heldOutRows: held?.rows.length ?? 0,
    heldOutTokens: held?.tokens ?? 0,
    maxLength: held && job.maxLength,
    rows: held?.rows ?? [],
    ...lossesOf(job, held, found?.heldOut ?? held?.verdicts ?? []),
    suites: suitesOf(job.suites, {
      dataset: job.dataset,
      heldOutRows: held?.rows.length ?? 0,
      questions: asked.length,
      checks: judged ?? [],
      probes: suite,
    }),
    decoding: DECODING,
    samples: asked.map(({ prompt, expected }, i) => ({
      prompt,
      expected,
      answers: measurements.map((each) => each.answers[i]!),
    })),
    scorecard: found?.card ?? null,
  };
}

/** None fits how a document goes on unless somebody names one: then there is nothing to judge by. */
function checksFor({ checks, prose }: Asking, asked: readonly Asked[]): readonly Check[] | null {
  if (asked.length === 0) return null;
  if (checks.length > 0) return checks;
  return prose ? null : [suggestCheck(asked.map(({ expected }) => expected))];
}

interface HeldOut extends Losses {
  readonly rows: Outcome['rows'];
  /** Labelled ones of all rows. */
  readonly tokens: number;
}

/** @throws INPUT_INVALID where the models cut text into other tokens */
function heldOutOf(measurements: readonly Measurement[], { rows }: Subjects): HeldOut | null {
  const tokens = measurements.map((each) => each.losses.reduce((sum, row) => sum + row.count, 0));
  if (new Set(tokens).size > 1)
    throw new FettleError(
      'INPUT_INVALID',
      'These models cut the same text into different tokens, so their losses a token cannot be compared.',
      'Compare runs of one base model, or base models with one tokenizer; or ask for other suites than held-out.',
    );
  // Rows of which nothing was measured say nothing of any model.
  const counts = (measurements[0]?.losses ?? []).map(({ count }) => count);
  const each = measurements.map(({ losses }) => losses.filter((_, i) => counts[i]! > 0));
  if (!each[0]?.length) return null;
  return {
    ...compareLosses(each),
    tokens: tokens[0]!,
    rows: rows
      .filter((_, i) => counts[i]! > 0)
      .map((row, i) => ({
        row: row.index,
        text: questionIn(row).replace(/\s+/g, ' ').trim().slice(0, SHOWN),
        tokens: each[0]![i]!.count,
        losses: each.map((losses) => losses[i]!.sum / losses[i]!.count),
      })),
  };
}

/** Of a conversation what its first answer answers. */
function questionIn({ text, messages = [] }: StoredRow): string {
  if (text !== undefined) return text;
  return messages[Math.max(0, messages.findIndex(({ role }) => role === 'assistant') - 1)]?.content ?? '';
}

function lossesOf(
  { targets }: Asking,
  held: HeldOut | null,
  verdicts: Losses['verdicts'],
): Pick<Outcome, 'losses' | 'differences'> {
  if (!held) return { losses: [], differences: [] };
  const [first] = targets;
  return {
    losses: targets.map(({ target, label }, i) => {
      const loss = held.losses[i]!;
      return { target, label, loss, perplexity: perplexityOf(loss.value) };
    }),
    differences: targets.slice(1).map(({ target, label }, i) => {
      const told = { loss: held.differences[i]!, verdict: verdicts[i]! };
      const sentence = sentenceOf(label, first!.label, told, held.rows.length);
      return { target, against: first!.target, ...told, sentence };
    }),
  };
}

function cardOf(
  { targets }: Asking,
  measurements: readonly Measurement[],
  goal: { readonly asked: readonly Asked[]; readonly checks: readonly Check[] } | null,
  suite: ProbeSuite | null,
  held: Losses | null,
): ReturnType<typeof scorecardOf> {
  const items = goal?.asked.map(({ prompt, expected }, i): ScoredItem => ({
    id: `question-${i + 1}`,
    prompt,
    expected,
    answers: measurements.map(({ answers }) => judgeAll(goal.checks, answers[i]!.text, expected)),
  }));
  const skills = (suite?.skills ?? []).map(({ skill, probes }, s) => ({
    skill,
    items: probes.map((probe, p) => ({
      id: probe.id,
      prompt: probe.prompt,
      expected: probe.kind === 'choice' ? probe.choices[probe.answer]! : probe.answer,
      answers: measurements.map((each) => each.probes.skills[s]![p]!),
    })),
  }));
  return scorecardOf(
    targets.map(({ label }) => label),
    goal && items ? { checks: goal.checks, items } : null,
    skills,
    suite && suite.prose.length > 0 ? textOf(measurements, suite) : null,
    held,
  );
}

/** Of several checks the lowest counts: an answer is right that meets them all. */
function judgeAll(checks: readonly Check[], text: string, expected: string): ScoredItem['answers'][number] {
  const judged = checks.map((check) => judge(check, text, expected));
  if (judged.length === 1) return { text, ...judged[0]! };
  const scores = judged.map(({ score }) => score);
  return { text, score: Math.min(...scores), why: judged.map(({ why }) => why).join('; '), checks: scores };
}

const textOf = (
  measurements: readonly Measurement[],
  suite: ProbeSuite,
): Losses & Pick<NonNullable<Scorecard['prose']>, 'domains'> => ({
  ...compareLosses(measurements.map((each) => each.probes.prose)),
  domains: suite.prose.map(({ domain }, i) => ({
    domain,
    losses: measurements.map(({ probes }) => meanLoss([probes.prose[i]!])),
  })),
});
