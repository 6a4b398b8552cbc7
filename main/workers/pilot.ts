/** @file Child process: the ways of tuning that the data allow, each on the same budget of tokens, measured on the same text. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Measured, Pilot } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Recipe, Way } from '../contract/recipe.ts';
import { readRows } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import type { BaseModel, LoraModel } from '../engine/index.ts';
import { BatchPlan } from '../engine/train/batches.ts';
import { checkpointName } from '../engine/train/checkpoint.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { documentExample } from '../engine/train/examples.ts';
import { train } from '../engine/train/trainer.ts';
import type { Example } from '../engine/types.ts';
import { measure, type RowLoss } from '../evaluation/bootstrap.ts';
import { adapterConfig } from '../formats/peft.ts';
import { verdictInWords } from '../pilots/verdict.ts';
import { runChild } from './child.ts';
import { loadModel } from './load.ts';

export interface PilotJob {
  readonly model: string;
  readonly modelName: string;
  readonly pairs: { readonly rows: string; readonly recipe: Recipe } | null;
  readonly prose: { readonly rows: string; readonly recipe: Recipe } | null;
  /** Folder of texts that are neither the task nor the field. */
  readonly general: string;
  /** For each way; null takes what the minutes bear. */
  readonly tokens: number | null;
  readonly minutes: number;
  /** For adapters, removed by who asked. */
  readonly folder: string;
  readonly threads: number;
}
export interface PilotEvent {
  readonly stage: string;
  readonly share: number;
}
export type PilotResult = NonNullable<Pilot['result']>;

type MeasuredSet = PilotResult['sets'][number] & { readonly examples: readonly Example[]; readonly instruct: boolean };
type Arm = PilotResult['arms'][number] & { readonly rows: readonly (readonly RowLoss[])[] };

/** Held-out rows and documents that are measured on, and tokens of a document. */
const GOAL_ROWS = 48;
const DOCUMENTS = 8;
const DOCUMENT_TOKENS = 1024;
const MAX_LENGTH = 512;
/** Steps that measure the machine's speed; they are thrown away. */
const TRIAL_TOKENS = 1500;
/** Of the minutes, training's share; the rest goes into measuring. */
const TRAINING_SHARE = 0.75;
const LEAST_TOKENS = 1000;

runChild<PilotJob, PilotEvent, PilotResult>(async (job, { emit, signal, requested }) => {
  const stop = (): void => {
    if (signal.aborted) throw new FettleError('CANCELLED', 'The pilot was cancelled.', 'Nothing was kept.');
  };
  const tell = (stage: string, share: number): void => (stop(), emit({ stage, share }));
  tell('Loading the model', 0);
  let loaded = await loadModel(job.model, job.threads);
  const text: TextModel = { tokenizer: loaded.files.tokenizer, template: loaded.template };
  try {
    const [pairs, prose] = [await readExamples(job.pairs?.rows, text), await readExamples(job.prose?.rows, text)];
    const sets = await measuredOn(job, pairs.heldOut, prose.heldOut, text);
    const ways: Way[] = [
      ...(job.pairs ? (['instruct'] as const) : []),
      ...(job.prose ? (['non-instruct'] as const) : []),
    ];
    if (ways.length === 2) ways.push('staged');

    const look = async (model: BaseModel | LoraModel): Promise<RowLoss[][]> => {
      const rows: RowLoss[][] = [];
      for (const set of sets) {
        const options = {
          strategy: set.instruct ? 'instruct' : 'non-instruct',
          maxLength: MAX_LENGTH,
          packing: true,
          batchSize: 1,
          abandon: () => signal.aborted,
        } as const;
        rows.push([...((await evaluate(model, set.examples, options))?.examples ?? [])]);
        stop();
      }
      return rows;
    };
    const teach = async (
      base: BaseModel,
      way: 'instruct' | 'non-instruct',
      tokens: number,
      name: string,
    ): Promise<{ model: LoraModel; tokens: number; steps: number; seconds: number; folder: string }> => {
      const recipe = (way === 'instruct' ? job.pairs : job.prose)!.recipe;
      const examples = way === 'instruct' ? pairs.train : prose.train;
      const plan = new BatchPlan(examples, recipe);
      const steps = Math.max(1, Math.round(tokens / (plan.report.tokens / plan.stepsPerEpoch)));
      const model = base.withLora({ ...recipe, seed: recipe.seed });
      const checkpointDir = join(job.folder, name);
      const started = performance.now();
      const { result } = await train({
        model,
        train: examples,
        heldOut: [],
        recipe: { ...recipe, maxSteps: steps },
        runId: name,
        checkpointDir,
        onEvent: () => undefined,
        control: { requested: () => (requested() === 'none' ? 'none' : 'cancel') },
        clock: () => performance.now(),
        memory: () => 0,
        adapterConfig: adapterConfig({ ...recipe, baseModel: job.modelName }),
      });
      stop();
      const seconds = (performance.now() - started) / 1000;
      return { model, tokens: result?.tokens ?? 0, steps, seconds, folder: join(checkpointDir, checkpointName(steps)) };
    };

    tell('Measuring the model as it is', 0.02);
    const base: Arm = { ...blank('base'), rows: await look(loaded.base) };
    const budget = job.tokens ?? (await affordable());
    const arms: Arm[] = [base];
    for (const [i, way] of ways.entries()) {
      const at = (within: number): number => 0.1 + (0.9 * (i + within)) / ways.length;
      tell(`Trying ${way} on ${budget.toLocaleString('en')} tokens`, at(0));
      const share = way === 'staged' ? Math.round(budget / 2) : budget;
      let before = 0;
      if (way === 'staged') {
        const first = await teach(loaded.base, 'non-instruct', share, 'staged-1');
        before = first.tokens;
        await loaded.close();
        loaded = await loadModel(job.model, job.threads, [first.folder]);
      }
      const { model, tokens, steps } = await teach(loaded.base, way === 'staged' ? 'instruct' : way, share, way);
      tell(`Measuring ${way}`, at(0.7));
      arms.push({ ...blank(way), tokens: before + tokens, steps, rows: await look(model) });
    }
    return resultOf(budget, sets, arms);

    async function affordable(): Promise<number> {
      tell('Measuring the speed of this machine', 0.06);
      const { tokens, seconds } = await teach(loaded.base, ways[0] as 'instruct', TRIAL_TOKENS, 'trial');
      const rate = tokens / Math.max(seconds, 1e-3);
      return Math.max(LEAST_TOKENS, Math.round((rate * job.minutes * 60 * TRAINING_SHARE) / ways.length));
    }
  } finally {
    await loaded.close();
  }
});

const blank = (way: Arm['way']): Omit<Arm, 'rows'> => ({ way, tokens: 0, steps: 0, losses: [], differences: [] });

async function readExamples(
  rows: string | undefined,
  text: TextModel,
): Promise<{ train: Example[]; heldOut: Example[] }> {
  const out: { train: Example[]; heldOut: Example[] } = { train: [], heldOut: [] };
  if (rows === undefined) return out;
  for await (const row of readRows(rows)) out[row.split === 'train' ? 'train' : 'heldOut'].push(exampleOf(row, text));
  return out;
}

/** The goal first: unseen examples where there are any, else unseen text of the field; then the field; then text that has nothing to do with it. */
async function measuredOn(
  job: PilotJob,
  pairs: readonly Example[],
  prose: readonly Example[],
  text: TextModel,
): Promise<MeasuredSet[]> {
  const cut = ({ ids, loss }: Example): Example => ({
    ids: ids.subarray(0, DOCUMENT_TOKENS),
    loss: loss.subarray(0, DOCUMENT_TOKENS),
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
    tokens: examples.reduce((sum, example) => sum + example.loss.reduce((n, mark) => n + mark, 0), 0),
  });
  const field = prose.slice(0, DOCUMENTS).map(cut);
  return [
    ...(pairs.length > 0 ? [set('goal', 'Your unseen examples', pairs.slice(0, GOAL_ROWS), true)] : []),
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

const goalLoss = ({ rows }: Arm): number => {
  const goal = rows[0] ?? [];
  return (
    goal.reduce((sum, row) => sum + row.sum, 0) /
    Math.max(
      1,
      goal.reduce((sum, row) => sum + row.count, 0),
    )
  );
};
