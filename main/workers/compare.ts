/** @file Child process: each model measured on the suites asked for: loss on the same rows, the same questions answered, general skills, other text. */
import type { Answer, Check, ComparisonResult, Scorecard, SuiteName } from '../contract/entities.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { chatPrompt, textPrompt } from '../engine/train/examples.ts';
import { evaluate, perplexityOf } from '../engine/train/evaluate.ts';
import type { Example } from '../engine/types.ts';
import { FettleError } from '../contract/errors.ts';
import { meanLoss, type RowLoss } from '../evaluation/bootstrap.ts';
import { judge, refuseUnfit, suggestCheck } from '../evaluation/checks.ts';
import { readProbes, type ProbeSuite } from '../evaluation/probes.ts';
import { compareLosses, sentenceOf } from '../evaluation/differences.ts';
import { scorecardOf, type ScoredItem } from '../evaluation/scorecard.ts';
import { DECODING, nothingMeasured, suitesOf } from '../evaluation/suites.ts';
import { runChild, type ChildContext } from './child.ts';
import { loadModel, withAdapter, type LoadedModel } from './load.ts';
import { scoreProbes, type ProbeScores } from './score.ts';
import { spread } from './spread.ts';
import { answerAll } from './together.ts';

export interface CompareTarget {
  readonly target: string;
  readonly label: string;
  readonly model: string;
  readonly adapter: string | null;
  /** Adapters of the stages under it. */
  readonly under: readonly string[];
}
export interface CompareJob {
  readonly targets: readonly CompareTarget[];
  readonly suites: readonly SuiteName[];
  /** rows.jsonl of the data measured on, and its version; null where no suite needs them. */
  readonly rows: string | null;
  readonly dataset: string;
  readonly prose: boolean;
  readonly maxLength: number;
  /** Prompts answered by each, and judged. */
  readonly samples: number;
  /** None take what fits the expected answers. */
  readonly checks: readonly Check[];
  /** Folder of the general probe suite. */
  readonly probes: string;
  readonly threads: number;
}
export interface CompareEvent {
  readonly stage: string;
  readonly progress: number;
}
export type CompareResult = Omit<ComparisonResult, 'version' | 'models' | 'settings' | 'answers'>;

/** Words of a document that a model is to go on from. */
const OPENING_WORDS = 30;

interface Measurement {
  /** Of each row; none where the held-out rows were not asked for. */
  readonly losses: readonly RowLoss[];
  readonly answers: readonly Answer[];
  readonly probes: ProbeScores;
}
/** What every model is measured on. */
interface Subjects {
  readonly rows: readonly StoredRow[];
  readonly asked: readonly Asked[];
  readonly suite: ProbeSuite | null;
}
type Report = (stage: string, share: number) => void;

runChild<CompareJob, CompareEvent, CompareResult>(async (job, context) => {
  const subjects = await subjectsOf(job);
  if (!job.prose)
    refuseUnfit(
      job.checks,
      subjects.asked.map(({ expected }) => expected),
    );
  const measurements: Measurement[] = [];
  let loaded: (LoadedModel & { readonly key: string }) | undefined;
  try {
    for (const [i, target] of job.targets.entries()) {
      const report: Report = (stage, share) =>
        context.emit({ stage: `${target.label}: ${stage}`, progress: (i + share) / job.targets.length });
      const key = [target.model, ...target.under].join('\n');
      if (loaded?.key !== key) {
        await loaded?.close();
        loaded = undefined;
        report('loading', 0);
        loaded = { ...(await loadModel(target.model, job.threads, target.under)), key };
      }
      const model = await withAdapter(loaded.base, target.adapter);
      measurements.push(await measureModel(job, target.target, model, loaded, subjects, report, context));
    }
  } finally {
    await loaded?.close();
  }
  return resultOf(job, measurements, subjects);
});

async function subjectsOf(job: CompareJob): Promise<Subjects> {
  const has = (name: SuiteName): boolean => job.suites.includes(name);
  const held: StoredRow[] = [];
  if (job.rows !== null) for await (const row of readRows(job.rows)) if (row.split === 'held-out') held.push(row);
  const read = has('general') || has('prose') ? await readProbes(job.probes) : null;
  const subjects: Subjects = {
    rows: has('held-out') ? held : [],
    asked: has('task') ? questionsOf(held, job.samples) : [],
    suite: read && { ...read, skills: has('general') ? read.skills : [], prose: has('prose') ? read.prose : [] },
  };
  if (subjects.rows.length + subjects.asked.length === 0 && !subjects.suite) throw nothingMeasured();
  return subjects;
}

async function measureModel(
  job: CompareJob,
  target: string,
  model: BaseModel | TunedModel,
  { files, template }: LoadedModel,
  { rows, asked, suite }: Subjects,
  report: Report,
  { signal }: ChildContext<CompareEvent>,
): Promise<Measurement> {
  const text = { tokenizer: files.tokenizer, template } satisfies TextModel;
  const stop = (): void => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The comparison was cancelled.', 'Compare again.');
  };
  // What each part takes of the way, by what it usually takes of the time.
  const weights = [rows.length > 0 ? 3 : 0, asked.length > 0 ? 4 : 0, suite ? 4 : 0];
  const all = weights.reduce((a, b) => a + b, 0);
  const part = (i: number, stage: string, share: number): void => {
    stop();
    report(stage, (weights.slice(0, i).reduce((a, b) => a + b, 0) + weights[i]! * share) / all);
  };
  const { tokenizer } = text;
  const { stopIds } = files;
  const prompts = asked.map(({ prompt, messages, tools }) => ({
    ids: messages ? chatPrompt(messages, text, { tools }) : textPrompt(prompt, tokenizer),
    maxTokens: DECODING.maxTokens,
  }));
  refuseLong(prompts, model.spec.maxPositions);
  const examples: Example[] = rows.map((row) => exampleOf(row, text));
  const losses =
    examples.length === 0
      ? []
      : (await evaluate(model, examples, {
          strategy: job.prose ? 'non-instruct' : 'instruct',
          maxLength: job.maxLength,
          packing: true,
          batchSize: 1,
          onProgress: (share) => part(0, 'measuring the loss on unseen rows', share),
        }))!.examples;
  const tell = (answered: number): void => part(1, `answered ${answered} of ${asked.length}`, answered / asked.length);
  const said = await answerAll(model, prompts, { tokenizer, stopIds, signal, tell });
  const answers = said.map(({ text: each, ids, reason, tokensPerSecond }): Answer => {
    return { target, text: each, tokens: ids.length, stopReason: reason, tokensPerSecond };
  });
  const probes = suite
    ? await scoreProbes(model, { tokenizer, stopIds, signal }, suite, (share) => part(2, 'general skills', share))
    : { skills: [], prose: [] };
  return { losses, answers, probes };
}

/** Before anything is measured. @throws PROMPT_TOO_LONG */
function refuseLong(prompts: readonly { readonly ids: readonly number[] }[], most: number): void {
  const long = prompts.findIndex(({ ids }) => ids.length > most);
  if (long === -1) return;
  throw new FettleError(
    'PROMPT_TOO_LONG',
    `Question ${long + 1} of ${prompts.length} is ${prompts[long]!.ids.length} tokens long, and this model reads ${most} at most.`,
    `Measure without the unseen questions (suite task), or on data without such long rows: \`fettle data clean PROJECT DATASET --longer-than ${most} --model MODEL\`.`,
  );
}

interface Asked {
  readonly prompt: string;
  readonly expected: string;
  readonly messages?: NonNullable<StoredRow['messages']>;
  readonly tools?: StoredRow['tools'];
}

/** Held-out questions, evenly spread, with the answers that were expected; of documents, the first words and how they go on. */
function questionsOf(rows: readonly StoredRow[], count: number): Asked[] {
  return spread(rows, count).map((row): Asked => {
    if (row.text !== undefined) {
      const words = row.text.split(/(?<=\s)/);
      const part = (from: number, to: number): string => words.slice(from, to).join('').trim();
      return { prompt: part(0, OPENING_WORDS), expected: part(OPENING_WORDS, OPENING_WORDS + DECODING.maxTokens / 2) };
    }
    const messages = row.messages ?? [];
    const first = messages.findIndex((turn) => turn.role === 'assistant');
    const before = messages.slice(0, first);
    return {
      prompt: before.at(-1)?.content ?? '',
      expected: messages[first]?.content ?? '',
      messages: before,
      tools: row.tools,
    };
  });
}

function resultOf(job: CompareJob, measurements: readonly Measurement[], subjects: Subjects): CompareResult {
  const { asked, suite } = subjects;
  const checks = job.checks.length > 0 ? job.checks : [suggestCheck(asked.map(({ expected }) => expected))];
  const losses = lossesOf(job, measurements);
  const judged = !job.prose && asked.length > 0;
  return {
    ...losses,
    suites: suitesOf(job.suites, {
      dataset: job.dataset,
      heldOutRows: losses.heldOutRows,
      questions: asked.length,
      checks: judged ? checks : [],
      probes: suite,
    }),
    decoding: DECODING,
    samples: asked.map(({ prompt, expected }, i) => ({
      prompt,
      expected,
      answers: measurements.map((each) => each.answers[i]!),
    })),
    scorecard: judged || suite ? cardOf(job, measurements, judged ? { asked, checks } : null, suite) : null,
  };
}

function lossesOf(
  { targets }: CompareJob,
  measurements: readonly Measurement[],
): Pick<CompareResult, 'heldOutRows' | 'heldOutTokens' | 'losses' | 'differences'> {
  const tokens = measurements.map((each) => each.losses.reduce((sum, row) => sum + row.count, 0));
  if (new Set(tokens).size > 1)
    throw new FettleError(
      'INPUT_INVALID',
      'These models cut the same text into different tokens, so their losses a token cannot be compared.',
      'Compare runs of one base model, or base models with one tokenizer; or ask for other suites than held-out.',
    );
  // Rows of which nothing was measured say nothing of any model.
  const counted = (measurements[0]?.losses ?? []).map((row) => row.count > 0);
  const rows = counted.filter(Boolean).length;
  if (rows === 0) return { heldOutRows: 0, heldOutTokens: 0, losses: [], differences: [] };
  const { losses, differences, verdicts } = compareLosses(
    measurements.map((each) => each.losses.filter((_, i) => counted[i])),
  );
  const [first] = targets;
  return {
    heldOutRows: rows,
    heldOutTokens: tokens[0] ?? 0,
    losses: targets.map(({ target, label }, i) => ({
      target,
      label,
      loss: losses[i]!,
      perplexity: perplexityOf(losses[i]!.value),
    })),
    differences: targets.slice(1).map(({ target, label }, i) => {
      const told = { loss: differences[i]!, verdict: verdicts[i]! };
      return { target, against: first!.target, ...told, sentence: sentenceOf(label, first!.label, told, rows) };
    }),
  };
}

function cardOf(
  { targets }: CompareJob,
  measurements: readonly Measurement[],
  goal: { readonly asked: readonly Asked[]; readonly checks: readonly Check[] } | null,
  suite: ProbeSuite | null,
): Scorecard {
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
    suite && suite.prose.length > 0 ? proseOf(measurements, suite) : null,
  );
}

/** Of several checks the lowest counts: an answer is right that meets them all. */
function judgeAll(checks: readonly Check[], text: string, expected: string): ScoredItem['answers'][number] {
  const judged = checks.map((check) => judge(check, text, expected));
  if (judged.length === 1) return { text, ...judged[0]! };
  const scores = judged.map(({ score }) => score);
  return { text, score: Math.min(...scores), why: judged.map(({ why }) => why).join('; '), checks: scores };
}

function proseOf(measurements: readonly Measurement[], suite: ProbeSuite): Scorecard['prose'] {
  return {
    ...compareLosses(measurements.map((each) => each.probes.prose)),
    domains: suite.prose.map(({ domain }, i) => ({
      domain,
      losses: measurements.map(({ probes }) => meanLoss([probes.prose[i]!])),
    })),
  };
}
