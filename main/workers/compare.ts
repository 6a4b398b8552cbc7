/** @file Child process: each model measured on the suites asked for: loss on the same rows, the same questions answered, general skills, other text. */
import type { Answer, Check, SuiteName } from '../contract/entities.ts';
import { learnedFrom } from '../datasets/learned.ts';
import { continuationOf, openingOf } from '../datasets/opening.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import { chatPrompt, textPrompt } from '../engine/train/examples.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import type { Example } from '../engine/types.ts';
import { FettleError } from '../contract/errors.ts';
import { refuseUnfit } from '../evaluation/checks.ts';
import { outcomeOf, type Asked, type Measurement, type Outcome, type Subjects } from '../evaluation/outcome.ts';
import { readProbes } from '../evaluation/probes.ts';
import { DECODING, nothingMeasured } from '../evaluation/suites.ts';
import { runChild, type ChildContext } from './child.ts';
import { loadModel, withAdapter, type LoadedModel } from './load.ts';
import { scoreProbes } from './score.ts';
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
  /** rows.jsonl of all that the targets and the stages under them were trained on. */
  readonly learned: readonly string[];
  /** Labels of the targets of which not all of that is known. */
  readonly unchecked: readonly string[];
  /** Tokens of a row that are measured; the same for every model. */
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
type Report = (stage: string, share: number) => void;

runChild<CompareJob, CompareEvent, Outcome>(async (job, context) => {
  const subjects = await subjectsOf(job);
  const expected = subjects.asked.map((each) => each.expected);
  refuseUnfit(job.checks, expected, { prose: job.prose });
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
  return outcomeOf(job, measurements, subjects);
});

async function subjectsOf(job: CompareJob): Promise<Subjects> {
  const has = (name: SuiteName): boolean => job.suites.includes(name);
  const all: StoredRow[] = [];
  if (job.rows !== null) for await (const row of readRows(job.rows)) if (row.split === 'held-out') all.push(row);
  const learned = await learnedFrom(all, job.learned);
  const held = all.filter((_, i) => !learned[i]);
  if (all.length > 0 && held.length === 0) throw allLearned(all.length);
  const read = has('general') || has('prose') ? await readProbes(job.probes) : null;
  const subjects: Subjects = {
    learned: all.length - held.length,
    rows: has('held-out') ? held : [],
    asked: has('task') ? questionsOf(held, job.samples) : [],
    suite: read && { ...read, skills: has('general') ? read.skills : [], prose: has('prose') ? read.prose : [] },
  };
  if (subjects.rows.length + subjects.asked.length === 0 && !subjects.suite) throw nothingMeasured();
  return subjects;
}

const allLearned = (rows: number): FettleError =>
  new FettleError(
    'DATA_EMPTY',
    `${rows === 1 ? 'The only held-out row' : `Each of the ${rows} held-out rows`} of these data is among those that a compared model, or a stage under it, was trained on: nothing is left that none of them has seen.`,
    'Compare on other data (--dataset), or bring in rows that no run has learned from.',
  );

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

/** Held-out questions, evenly spread, with the answers that were expected; of documents, the first words and how they go on. */
function questionsOf(rows: readonly StoredRow[], count: number): Asked[] {
  return spread(rows, count).map((row): Asked => {
    if (row.text !== undefined)
      return { prompt: openingOf(row.text), expected: continuationOf(row.text, DECODING.maxTokens / 2) };
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
