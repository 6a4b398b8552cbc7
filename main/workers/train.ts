/** @file Child process: one training run, from opening the model to its last checkpoint. */
import { cpus } from 'node:os';
import { isQuantised, type Recipe } from '../contract/recipe.ts';
import type { ResultEvent, TrainEvent } from '../contract/training.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { exampleOf } from '../datasets/tokens.ts';
import { generate } from '../engine/generate/generate.ts';
import type { Device } from '../engine/graph/op.ts';
import {
  fitAdapter,
  loadBase,
  measureRounding,
  Prepared,
  readSpec,
  type BaseModel,
  type PreparedAt,
  type TunedModel,
} from '../engine/index.ts';
import type { DataReport } from '../engine/train/batches.ts';
import type { Rounding } from '../engine/quantise/freeze.ts';
import { savedRounding } from '../engine/train/checkpoint.ts';
import { chatPrompt, textPrompt, type ChatForm } from '../engine/train/examples.ts';
import { fitExamples } from '../engine/train/packing.ts';
import { train } from '../engine/train/trainer.ts';
import type { Example } from '../engine/types.ts';
import { FETTLE_VERSION, runtimeVersion } from '../engine/version.ts';
import { adapterConfig, PEFT_PREFIX } from '../formats/peft.ts';
import { readPeft } from '../formats/tuned.ts';
import { generalExamples, rehearse } from '../recipes/rehearsal.ts';
import { checkpointsOf } from '../runs/folders.ts';
import { runChild, type ChildContext } from './child.ts';
import { openStages } from './load.ts';
import { spread } from './spread.ts';

export interface TrainJob {
  /** The run's id, kept in its checkpoints. */
  readonly run: string;
  /** Of the run; checkpoints/ lies in it. */
  readonly folder: string;
  /** What openModel takes. */
  readonly model: string;
  /** Where the model's weights in fewer bits are kept once they are made. */
  readonly prepared: PreparedAt;
  /** Name of the base model as an adapter states it. */
  readonly modelName: string;
  /** Adapters of earlier stages: they are part of what this run stands on. */
  readonly under: readonly string[];
  /** Names of checkpoints that other runs stand on: they are kept. */
  readonly held: readonly string[];
  readonly rows: string;
  readonly recipe: Recipe;
  /** What the recipe's device came to. */
  readonly device: Device;
  /** Of a micro-batch on a graphics processor. */
  readonly deviceTokens?: number | undefined;
  readonly threads: number;
  /** Go on from the newest checkpoint that is whole. */
  readonly resume: boolean;
  /** It had ended for good, and a person asked for more. */
  readonly continued: boolean;
  /** Held-out examples of about so many tokens, evenly spread, are looked at; all where it is not said. */
  readonly lookTokens?: number;
}
export type TrainOutcome =
  | { readonly reason: 'paused' }
  | (Pick<ResultEvent, 'peakMemoryBytes' | 'tokensPerSecond' | 'reason'> & {
      /** What a pass reads, and the share of the held-out tokens that a look takes. */
      readonly pass: Pick<DataReport, 'rows' | 'tokens'> & { readonly lookedAt: number };
      /** That went into what is kept for the next run. */
      readonly preparingSeconds: number;
    });

/** Tokens of the text that is watched while the model learns. */
const SAMPLE_TOKENS = 60;
/** Words of a held-out document that such a text begins with. */
const OPENING_WORDS = 20;

runChild<TrainJob, TrainEvent, TrainOutcome>(async (job, context) => {
  const { recipe } = job;
  const stage = (text: string): void => context.emit({ type: 'state', state: 'running', stage: text });
  stage('Opening the model');
  const { files, template, close } = await openStages(job.model, job.under);
  let base: BaseModel | undefined;
  try {
    const text = { tokenizer: files.tokenizer, template } satisfies ChatForm;
    stage('Preparing the examples');
    const spec = readSpec(files.config);
    const { train: training, heldOut, opening } = await readExamples(job.rows, recipe, text, spec.maxPositions);
    const untold = training.reduce((sum, row) => sum + (row.untold ?? 0), 0);
    if (untold > 0) stage(untoldWords(untold));
    // Those with a template of their own have learned to answer: that is what they rehearse.
    const general = recipe.rehearsal > 0 ? await generalExamples(text, files.chatTemplate !== null) : [];
    const rehearsal = rehearse(training, general, recipe);
    if (rehearsal.tokens > 0) stage(rehearsalWords(training, rehearsal));
    const precision = recipe.precision === 'auto' ? 'fp32' : recipe.precision;
    // What earlier stages learned is in the weights too.
    const prepared = new Prepared(job.under.length === 0 ? job.prepared : null, stage);
    let rounding: Rounding | undefined;
    if (isQuantised(precision)) {
      // A run goes on with what it began with; from other rows other bits would follow.
      rounding = job.resume ? await savedRounding(checkpointsOf(job.folder)) : undefined;
      const options = { threads: job.threads, precision, prepared };
      rounding ??= await measureRounding(files.config, files.weights, options, training);
    }
    stage('Loading the model');
    base = await loadBase(files.config, files.weights, {
      threads: job.threads,
      device: job.device,
      deviceTokens: job.deviceTokens,
      precision,
      rounding,
      prepared,
      // Where all weights are trained the base is given up, which memory that lanes share cannot be at once.
      ...(recipe.method === 'full' ? { lanes: 1 } : {}),
    });
    const model = recipe.method === 'full' ? base.becomeAllTrained(recipe) : base.withLora(recipe);
    if (recipe.initAdapter !== undefined && !job.resume) await startFrom(model, recipe.initAdapter);
    const looked = lookedAt(heldOut, recipe, job.lookTokens);
    const { result, data } = await train({
      model,
      train: [...training, ...rehearsal.examples],
      heldOut: looked.examples,
      recipe,
      runId: job.run,
      checkpointDir: checkpointsOf(job.folder),
      resume: job.resume,
      continued: job.continued,
      held: job.held,
      // How it ended is for the host to tell, together with the job's row.
      onEvent: (event) => {
        if (event.type !== 'result' && !(event.type === 'state' && event.state !== 'running')) context.emit(event);
      },
      control: context,
      ...(opening
        ? { sample: { every: recipe.evalEvery, generate: () => answer(model, opening, text, files.stopIds, context) } }
        : {}),
      clock: () => performance.now(),
      memory: () => process.resourceUsage().maxRSS * 1024,
      environment: environment(job, base),
      ...(recipe.method === 'lora'
        ? { adapterConfig: adapterConfig({ ...recipe, baseModel: job.modelName, transposed: model.spec.transposed }) }
        : {}),
      rounding,
    });
    return result
      ? { ...result, pass: { ...data, lookedAt: looked.share }, preparingSeconds: prepared.seconds }
      : { reason: 'paused' };
  } finally {
    await base?.release();
    await close();
  }
});

/** @param most tokens, about. @returns also their share of all. */
function lookedAt(
  heldOut: readonly Example[],
  { strategy, maxLength }: Recipe,
  most: number | undefined,
): { readonly examples: readonly Example[]; readonly share: number } {
  // As they are measured: of a long document pieces.
  const { examples } = fitExamples(heldOut, maxLength, strategy === 'instruct' ? 'cut' : 'split');
  if (most === undefined || examples.length === 0) return { examples: heldOut, share: 1 };
  const all = tokensOf(examples);
  const some = spread(examples, Math.max(1, Math.round((examples.length * most) / all)));
  return { examples: some, share: tokensOf(some) / all };
}

const tokensOf = (examples: readonly Example[]): number => examples.reduce((sum, { ids }) => sum + ids.length, 0);

/** Held-out rows are never rehearsed, so what is measured stays the same. */
function rehearsalWords(own: readonly Example[], rehearsal: { examples: readonly Example[]; tokens: number }): string {
  const all = tokensOf(own) + rehearsal.tokens;
  const count = (value: number): string => value.toLocaleString('en-GB');
  return `${count(rehearsal.tokens)} of ${count(all)} tokens of a pass are general data (${count(rehearsal.examples.length)} examples of Fettle’s own)`;
}

/** How much of the data teaches nothing, for the log. */
const untoldWords = (count: number): string =>
  `${count} earlier ${count === 1 ? 'answer teaches' : 'answers teach'} nothing: the model’s chat template writes them otherwise once there are later ones`;

interface Opening {
  readonly prompt: string;
  readonly ids: readonly number[];
}

/** Rows as examples, and what the model is asked while it learns: the first held-out question that leaves room for an answer, or the first words of the first held-out document. */
async function readExamples(
  rows: string,
  recipe: Recipe,
  text: ChatForm,
  positions: number,
): Promise<{ train: Example[]; heldOut: Example[]; opening: Opening | null }> {
  const [training, heldOut]: [Example[], Example[]] = [[], []];
  let opening: Opening | null = null;
  for await (const row of readRows(rows)) {
    const example = exampleOf(row, text);
    // All tokens of a conversation, where the recipe says so.
    const marked = recipe.lossOn === 'all' ? { ids: example.ids, loss: example.loss.map(() => 1) } : example;
    (row.split === 'train' ? training : heldOut).push(marked);
    if (row.split !== 'held-out' || opening) continue;
    const found = openingOf(row, text);
    if (found && found.ids.length + SAMPLE_TOKENS <= positions) opening = found;
  }
  return { train: training, heldOut, opening };
}

function openingOf(row: StoredRow, { tokenizer, template }: ChatForm): Opening | null {
  if (row.text !== undefined) {
    const prompt = row.text.split(/\s+/).slice(0, OPENING_WORDS).join(' ');
    return { prompt, ids: textPrompt(prompt, tokenizer) };
  }
  const messages = row.messages ?? [];
  const asked = messages.slice(
    0,
    messages.findIndex((turn) => turn.role === 'assistant'),
  );
  const question = asked.findLast((turn) => turn.role === 'user');
  return question
    ? { prompt: question.content, ids: chatPrompt(asked, { tokenizer, template }, { tools: row.tools }) }
    : null;
}

async function answer(
  model: TunedModel,
  { prompt, ids }: Opening,
  { tokenizer }: ChatForm,
  stopIds: readonly number[],
  { signal }: ChildContext<TrainEvent>,
): Promise<{ prompt: string; text: string }[]> {
  const decoder = model.generator();
  try {
    const { text } = await generate({ decoder, tokenizer, ids, stopIds, maxTokens: SAMPLE_TOKENS, signal });
    return [{ prompt, text }];
  } finally {
    await decoder.release();
  }
}

async function startFrom(model: TunedModel, folder: string): Promise<void> {
  const { stated, ...adapter } = await readPeft(folder);
  try {
    const { tensors } = fitAdapter(model.spec, adapter, stated.tied);
    const held = new Set(adapter.weights.names);
    const byName = new Map(tensors.map((tensor) => [PEFT_PREFIX + tensor.name, tensor]));
    // Where the adapter leaves a layer out its product is nothing there, but with both matrices zero it would stay so.
    const begun = new Map(
      model.parameters.entries
        .filter(({ name }) => name.endsWith('.lora_A.weight') && !held.has(name))
        .map(({ name, offset, size }) => [PEFT_PREFIX + name, model.parameters.values.slice(offset, offset + size)]),
    );
    await model.load({
      names: [...byName.keys()],
      info: (name) => ({ shape: byName.get(name)!.shape, storage: 'F32' }),
      read: async (name) => begun.get(name) ?? byName.get(name)!.data(),
    });
  } finally {
    await adapter.close();
  }
}

/** What decides the last bits of a run beside its recipe. */
const environment = (
  { threads, device }: TrainJob,
  { lanes }: Pick<BaseModel, 'lanes'>,
): Record<string, string | number> => ({
  fettle: FETTLE_VERSION,
  threads,
  lanes,
  device,
  cpu: cpus()[0]?.model ?? process.arch,
  node: process.versions.node,
  'onnxruntime-node': runtimeVersion(),
});
