/** @file Child process: the ways of tuning that the data allow, each on the same budget of tokens, measured on the same text. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Measured, Pilot } from '../contract/entities.ts';
import type { Way } from '../contract/recipe.ts';
import type { TextModel } from '../datasets/tokens.ts';
import { documentExample } from '../engine/train/examples.ts';
import { fitExamples } from '../engine/train/packing.ts';
import type { Example } from '../engine/types.ts';
import { meanLoss, measure, type RowLoss } from '../evaluation/bootstrap.ts';
import { verdictInWords } from '../pilots/verdict.ts';
import { runChild } from './child.ts';
import { loadModel } from './load.ts';
import { spread } from './spread.ts';
import {
  labelledTokens,
  readExamples,
  TrialRun,
  type LessonJob,
  type LookedAt,
  type TrialEvent,
  type TrialJob,
} from './trial.ts';

export interface PilotJob extends TrialJob {
  readonly pairs: LessonJob | null;
  readonly prose: LessonJob | null;
  /** Folder of texts that are neither the task nor the field. */
  readonly general: string;
}
export type PilotResult = NonNullable<Pilot['result']>;

type MeasuredSet = PilotResult['sets'][number] & LookedAt;
type Arm = PilotResult['arms'][number] & { readonly rows: readonly (readonly RowLoss[])[] };

/** Held-out rows, and pieces of text of the field, that are measured on. */
const GOAL_ROWS = 48;
const PIECES = 8;

runChild<PilotJob, TrialEvent, PilotResult>(async (job, context) => {
  const trial = new TrialRun(job, context);
  trial.tell('Loading the model', 0);
  let loaded = await loadModel(job.model, job.threads);
  const text: TextModel = { tokenizer: loaded.files.tokenizer, template: loaded.template };
  try {
    const [pairs, prose] = [await readExamples(job.pairs?.rows, text), await readExamples(job.prose?.rows, text)];
    const sets = await measuredOn(job, pairs.heldOut, prose.heldOut, text);
    const lessons = {
      instruct: job.pairs && { examples: pairs.train, recipe: job.pairs.recipe },
      'non-instruct': job.prose && { examples: prose.train, recipe: job.prose.recipe },
    };
    const ways: Way[] = (['instruct', 'non-instruct'] as const).filter((way) => lessons[way]);
    const alone = lessons[ways[0] as 'instruct']!;
    if (ways.length === 2) ways.push('staged');

    trial.tell('Measuring the speed of this machine', 0.02);
    await trial.pace(loaded.base, alone);
    trial.tell('Measuring the model as it is', 0.06);
    const base: Arm = { ...blank('base'), rows: await trial.look(loaded.base, sets) };
    const budget = trial.budget({ lessons: ways.length, looks: ways.length });
    const arms: Arm[] = [base];
    for (const [i, way] of ways.entries()) {
      const at = (within: number): number => 0.1 + (0.9 * (i + within)) / ways.length;
      trial.tell(`Trying ${way} on ${budget.toLocaleString('en')} tokens`, at(0));
      const share = way === 'staged' ? Math.round(budget / 2) : budget;
      let before = { tokens: 0, steps: 0 };
      if (way === 'staged') {
        const first = await trial.teach(loaded.base, lessons['non-instruct']!, share, 'staged-1');
        before = first;
        await loaded.close();
        loaded = await loadModel(job.model, job.threads, [first.folder]);
      }
      const learned = await trial.teach(loaded.base, lessons[way === 'staged' ? 'instruct' : way]!, share, way);
      trial.tell(`Measuring ${way}`, at(0.7));
      const [tokens, steps] = [before.tokens + learned.tokens, before.steps + learned.steps];
      arms.push({ ...blank(way), tokens, steps, rows: await trial.look(learned.model, sets) });
    }
    return resultOf(budget, sets, arms);
  } finally {
    await loaded.close();
  }
});

const blank = (way: Arm['way']): Omit<Arm, 'rows'> => ({ way, tokens: 0, steps: 0, losses: [], differences: [] });

/** The goal first: unseen examples where there are any, else unseen text of the field; then the field; then text that has nothing to do with it. */
async function measuredOn(
  job: PilotJob,
  pairs: readonly Example[],
  prose: readonly Example[],
  text: TextModel,
): Promise<MeasuredSet[]> {
  const cut = ({ ids, loss }: Example): Example => ({
    ids: ids.subarray(0, job.maxLength),
    loss: loss.subarray(0, job.maxLength),
  });
  const names = (await readdir(job.general)).filter((name) => name.endsWith('.md')).sort();
  const general = await Promise.all(
    names.map(async (name) => cut(documentExample(await readFile(join(job.general, name), 'utf8'), text.tokenizer))),
  );
  const set = (id: MeasuredSet['id'], title: string, examples: readonly Example[], instruct: boolean): MeasuredSet => ({
    id,
    title,
    examples,
    instruct,
    rows: examples.length,
    tokens: labelledTokens(examples),
  });
  // In pieces: one long document would leave nothing to take a margin from.
  const field = spread(fitExamples(prose, job.maxLength, 'split').examples, PIECES);
  return [
    ...(pairs.length > 0 ? [set('goal', 'Your unseen examples', spread(pairs, GOAL_ROWS), true)] : []),
    ...(field.length > 0 ? [set(pairs.length > 0 ? 'field' : 'goal', 'Unseen text of your field', field, false)] : []),
    set('other', 'Other text, as the model had it', general, false),
  ];
}

function resultOf(budget: number, sets: readonly MeasuredSet[], arms: readonly Arm[]): PilotResult {
  const perSet = sets.map((_, s) => measure(arms.map((arm) => arm.rows[s]!)));
  const told = arms.map(({ way, tokens, steps }, a) => ({
    way,
    tokens,
    steps,
    losses: perSet.map(({ losses }) => losses[a]!),
    differences: perSet.map(({ differences }): Measured | null => (a === 0 ? null : differences[a - 1]!)),
  }));
  const order = arms.slice(1).toSorted((x, y) => goalLoss(x) - goalLoss(y));
  const [first, second] = order;
  // Paired with each other, not each with the base: the margin of their own difference decides.
  const lead = first && second ? measure([second.rows[0]!, first.rows[0]!]).differences[0]! : null;
  return {
    budget,
    sets: sets.map(({ id, title, rows, tokens }) => ({ id, title, rows, tokens })),
    arms: told,
    ...verdictInWords(told, first?.way as Way | undefined, second?.way as Way | undefined, lead),
  };
}

const goalLoss = ({ rows }: Arm): number => meanLoss(rows[0] ?? []);
