/** @file Child process: held-out loss of each model on the same rows, and the same prompts answered by each. */
import type { Answer, Check, Comparison, Scorecard } from '../contract/entities.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { generate } from '../engine/generate/generate.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { chatPrompt } from '../engine/train/examples.ts';
import { evaluate, perplexityOf } from '../engine/train/evaluate.ts';
import type { Example } from '../engine/types.ts';
import { FettleError } from '../contract/errors.ts';
import { measure, type RowLoss } from '../evaluation/bootstrap.ts';
import { judge, suggestCheck } from '../evaluation/checks.ts';
import { readProbes, type ProbeSuite } from '../evaluation/probes.ts';
import { sentenceOf, verdictOf } from '../evaluation/report.ts';
import { scorecardOf } from '../evaluation/scorecard.ts';
import { runChild, type ChildContext } from './child.ts';
import { loadModel, withAdapter, type LoadedModel } from './load.ts';
import { scoreProbes, type ProbeScores } from './score.ts';
import { spread } from './spread.ts';

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
  readonly rows: string;
  readonly prose: boolean;
  readonly maxLength: number;
  /** Prompts answered by each, and judged. */
  readonly samples: number;
  /** Null takes what fits the expected answers. */
  readonly check: Check | null;
  /** Folder of the general probe suite; null leaves it out. */
  readonly probes: string | null;
  readonly threads: number;
}
export interface CompareEvent {
  readonly stage: string;
  readonly progress: number;
}
export type CompareResult = Omit<NonNullable<Comparison['result']>, 'settings'>;

const ANSWER_TOKENS = 160;
/** Words of a document that a model is to go on from. */
const OPENING_WORDS = 30;

interface Measurement {
  readonly losses: readonly RowLoss[];
  readonly answers: readonly Answer[];
  readonly probes: ProbeScores | null;
}
type Report = (stage: string, share: number) => void;

runChild<CompareJob, CompareEvent, CompareResult>(async (job, context) => {
  const rows: StoredRow[] = [];
  for await (const row of readRows(job.rows)) if (row.split === 'held-out') rows.push(row);
  const asked = questionsOf(rows, job.samples);
  const suite = job.probes === null ? null : await readProbes(job.probes);
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
      measurements.push(await measureModel(job, target.target, model, loaded, { rows, asked, suite }, report, context));
    }
  } finally {
    await loaded?.close();
  }
  return resultOf(job, measurements, asked, suite);
});

async function measureModel(
  job: CompareJob,
  target: string,
  model: BaseModel | TunedModel,
  { files, template }: LoadedModel,
  { rows, asked, suite }: { rows: readonly StoredRow[]; asked: readonly Asked[]; suite: ProbeSuite | null },
  report: Report,
  { signal }: ChildContext<CompareEvent>,
): Promise<Measurement> {
  const text = { tokenizer: files.tokenizer, template } satisfies TextModel;
  const examples: Example[] = rows.map((row) => exampleOf(row, text));
  const evaluation = await evaluate(model, examples, {
    strategy: job.prose ? 'non-instruct' : 'instruct',
    maxLength: job.maxLength,
    packing: true,
    batchSize: 1,
    abandon: () => signal.aborted,
    onProgress: (share) => report('measuring the loss on unseen rows', 0.3 * share),
  });
  const decoder = model.generator();
  const answers: Answer[] = [];
  for (const [i, { prompt, messages, tools }] of asked.entries()) {
    if (signal.aborted) break;
    report(`answering ${i + 1} of ${asked.length}`, 0.3 + ((suite ? 0.3 : 0.7) * i) / asked.length);
    const ids = messages ? chatPrompt(messages, text, { tools }) : text.tokenizer.encode(prompt);
    const { tokenizer } = text;
    const made = await generate({ decoder, tokenizer, ids, stopIds: files.stopIds, maxTokens: ANSWER_TOKENS, signal });
    const { text: said, reason, tokensPerSecond } = made;
    answers.push({ target, text: said, tokens: made.ids.length, stopReason: reason, tokensPerSecond });
  }
  await decoder.release();
  const stop = (): void => {
    if (!evaluation || signal.aborted)
      throw new FettleError('CANCELLED', 'The comparison was cancelled.', 'Compare again.');
  };
  stop();
  const probes =
    suite &&
    (await scoreProbes(model, text.tokenizer, files.stopIds, suite, (share) => {
      stop();
      report('general skills', 0.6 + 0.4 * share);
    }));
  return { losses: evaluation!.examples, answers, probes };
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
      return { prompt: part(0, OPENING_WORDS), expected: part(OPENING_WORDS, OPENING_WORDS + ANSWER_TOKENS / 2) };
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

function resultOf(
  job: CompareJob,
  measurements: readonly Measurement[],
  asked: readonly Asked[],
  suite: ProbeSuite | null,
): CompareResult {
  const { targets } = job;
  const tokens = measurements.map((each) => each.losses.reduce((sum, row) => sum + row.count, 0));
  if (new Set(tokens).size > 1)
    throw new FettleError(
      'INPUT_INVALID',
      'These models cut the same text into different tokens, so their losses a token cannot be compared.',
      'Compare runs of one base model, or base models with one tokenizer.',
    );
  // Rows of which nothing was measured say nothing of any model.
  const counted = (measurements[0]?.losses ?? []).map((row) => row.count > 0);
  const rows = counted.filter(Boolean).length;
  const { losses, differences } = measure(measurements.map((each) => each.losses.filter((_, i) => counted[i])));
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
      const loss = differences[i]!;
      const sentence = sentenceOf(label, first!.label, loss, rows);
      return { target, against: first!.target, loss, verdict: verdictOf(loss), sentence };
    }),
    samples: asked.map(({ prompt, expected }, i) => ({
      prompt,
      expected,
      answers: measurements.map((each) => each.answers[i]!),
    })),
    scorecard: cardOf(job, measurements, asked, suite),
  };
}

/** Null where nothing was judged: text alone, and no probes. */
function cardOf(
  { targets, prose, check: given }: CompareJob,
  measurements: readonly Measurement[],
  asked: readonly Asked[],
  suite: ProbeSuite | null,
): Scorecard | null {
  const check = given ?? suggestCheck(asked.map(({ expected }) => expected));
  const goal =
    prose || asked.length === 0
      ? null
      : {
          check,
          items: asked.map(({ prompt, expected }, i) => ({
            id: `question-${i + 1}`,
            prompt,
            expected,
            answers: measurements.map(({ answers }) => ({
              text: answers[i]!.text,
              ...judge(check, answers[i]!.text, expected),
            })),
          })),
        };
  if (!goal && !suite) return null;
  const skills = (suite?.skills ?? []).map(({ skill, probes }, s) => ({
    skill,
    items: probes.map((probe, p) => ({
      id: probe.id,
      prompt: probe.prompt,
      expected: probe.kind === 'choice' ? probe.choices[probe.answer]! : probe.answer,
      answers: measurements.map((each) => each.probes!.skills[s]![p]!),
    })),
  }));
  return scorecardOf(
    targets.map(({ label }) => label),
    goal,
    skills,
    suite && measure(measurements.map((each) => each.probes!.prose)),
  );
}
