/** @file The recommended recipe: every value from the strategy, the data, the model and the machine, with its reason and its usual range. */
import type { Model, Plan } from '../contract/entities.ts';
import { Recipe, type Precision, type Strategy } from '../contract/recipe.ts';
import { FettleError } from '../contract/errors.ts';
import { bytes as inWords } from '../contract/bytes.ts';
import { withRehearsal, type DataSize } from './data.ts';
import { packedRows, stepsOf } from './estimate.ts';
import { saveable } from '../engine/index.ts';
import type { Speeds } from '../engine/quantise/kernels.ts';
import { onlyOnProcessor } from './devices.ts';
import { settledPrecision } from './speeds.ts';
import { needsExact, trainingMemory, type ModelSize } from './memory.ts';

export interface RecipeContext {
  readonly strategy: Strategy;
  readonly model: ModelSize & Pick<Model, 'name' | 'contextLength' | 'kind' | 'hasChatTemplate'>;
  readonly data: DataSize;
  readonly threads: number;
  /** Of products on this machine; null where they were not measured. */
  readonly speeds: Speeds | null;
}
type Reasons = Plan['reasons'];

const LENGTHS = [128, 256, 512, 1024, 2048] as const;
/** Below this many steps an adapter has hardly moved from where it began (reasoning; Schulman et al. 2025 tell runs under 100 steps apart). */
const ENOUGH_STEPS = 120;
const thousands = (value: number): string => Math.round(value).toLocaleString('en-GB');

/** Up to here rows of several examples are as quick as shorter ones; from here on two short rows are quicker than a long one (docs/benchmarks.md). */
const QUICK_LENGTH = 512;
/** Rows beyond that end at a multiple. */
const LENGTH_STEP = 128;

/** Whether a row's length hangs on how long the longest example is, which only the model's tokenizer can tell. */
export const wantsLongest = ({ prose, usualLength }: DataSize): boolean =>
  !prose && usualLength * SEVERAL > QUICK_LENGTH && usualLength <= QUICK_LENGTH;

/** Packed examples leave little of a row empty only where several fit into it. */
const SEVERAL = 3;

function lengthFor({ data, model }: RecipeContext, packing: boolean): number {
  const wanted = data.prose ? QUICK_LENGTH : Math.round(data.usualLength * (packing ? SEVERAL : 1.1));
  const longest = Math.ceil((data.longest ?? Infinity) / LENGTH_STEP) * LENGTH_STEP;
  // Attention grows with the square of the length: 1,024 is what a few CPU cores bear.
  const length = LENGTHS.find((each) => each >= wanted) ?? 1024;
  return Math.min(length, Math.max(QUICK_LENGTH, longest), 1024, model.contextLength);
}

function epochsFor({ data, strategy }: RecipeContext): number {
  if (strategy === 'non-instruct') return data.trainTokens < 1e6 ? 3 : data.trainTokens < 5e6 ? 2 : 1;
  return data.trainRows < 150 ? 4 : data.trainRows < 1000 ? 3 : data.trainRows < 5000 ? 2 : 1;
}

/** All weights themselves bear a tenth of what an adapter does (Schulman et al. 2025). */
function rateFor({ model, strategy }: RecipeContext, method: Recipe['method']): number {
  const instruct = model.parameters < 5e8 ? 1e-3 : model.parameters < 2e9 ? 4e-4 : 2e-4;
  return (strategy === 'instruct' ? instruct : instruct / 2) / (method === 'full' ? 10 : 1);
}

const usualRate = (model: ModelSize, method: Recipe['method']): string =>
  method === 'full'
    ? model.parameters < 5e8
      ? '0.00003 to 0.0002'
      : '0.00001 to 0.00005'
    : model.parameters < 5e8
      ? '0.0003 to 0.002'
      : '0.0001 to 0.0005';

/** More data fill more rank: an adapter whose numbers are few beside what it is shown falls behind (Schulman et al. 2025). */
function rankFor({ data, strategy }: RecipeContext): number {
  if (strategy === 'instruct') return data.trainRows < 5000 ? 16 : 32;
  return data.trainTokens < 2e6 ? 32 : 64;
}

/** Raw text costs an instruct model some of its answering; a twentieth of general requests holds most of it. */
const rehearsalFor = ({ model, strategy }: RecipeContext): number =>
  strategy === 'non-instruct' && model.kind.value === 'instruct' ? 0.05 : 0;

/** @throws RECIPE_INVALID where fewer bits are asked for and something needs the weights as they are. */
function precisionFor({ speeds }: RecipeContext, partial: Partial<Recipe>): Precision {
  // Exact unless it is asked for otherwise: 8 bits cost 0.4 to 0.9% of the loss (docs/decisions/engine-speed.md).
  const wanted = partial.precision ?? 'fp32';
  if (!needsExact(partial)) return settledPrecision(wanted, speeds);
  if (wanted !== 'auto' && wanted !== 'fp32')
    throw new FettleError(
      'RECIPE_INVALID',
      `precision cannot be ${wanted} with full tuning, DoRA or modulesToSave: they need the model's own weights.`,
      'Use precision=fp32, or a plain adapter.',
    );
  return 'fp32';
}

/** What a base in fp16 is. */
const HALVES =
  'That is as exact as nearly all models are given out, and about as fast: each weight is widened for its product, which is one of fp32.';

function precisionReason(recipe: Recipe, speeds: Speeds | null): string {
  if (needsExact(recipe)) return 'What is trained here needs the model’s own weights, exact.';
  if (recipe.precision === 'fp16') return HALVES;
  if (!speeds) return 'Exact, and as fast as anything where 8 bits were not measured to be faster.';
  const measured = `${thousands(speeds.int8)} against ${thousands(speeds.fp32)} billion operations a second`;
  const gain = speeds.int8 / speeds.fp32;
  if (recipe.precision === 'fp32')
    return settledPrecision('auto', speeds) === 'int8'
      ? `Exact. In 8 bits (int8) the frozen model would multiply ${gain.toFixed(1)} times as fast here (${measured}); what that cost SmolLM2 was about 0.6% of the loss.`
      : `Exact, and 8 bits would gain little here (${measured}).`;
  return `The frozen model multiplies ${gain.toFixed(1)} times as fast in 8 bits here (${measured}); SmolLM2 came out about 0.6% of the loss behind fp32. Comparing and exporting use the model as it is, in fp32.`;
}

/** Why a base is in fewer bits than was wanted. */
function thriftReason(precision: Precision, freeMemoryBytes: number): string {
  const [bits, cost] = precision === 'fp16' ? [16, HALVES] : [4, 'It is less exact: compare the result with the base.'];
  return `The frozen model is kept in ${bits} bits, since it would not fit the ${inWords(freeMemoryBytes)} of memory that are free otherwise. ${cost}`;
}

/** What may be given up for memory. */
type Thrift = Pick<Recipe, 'activationCheckpointing'> & { readonly precision: Precision };

/** The longest row that fits the memory, not shorter than what the rows need. */
function fittingLength(data: DataSize, wanted: number, fits: (maxLength: number) => boolean): number {
  const least = data.prose ? LENGTHS[0] : Math.min(wanted, Math.max(LENGTHS[0], data.usualLength));
  const shorter = LENGTHS.filter((length) => length >= least && length < wanted).toReversed();
  return fits(wanted) ? wanted : (shorter.find(fits) ?? wanted);
}

/** `all-linear` as in PEFT. @throws RECIPE_INVALID for one that the model has not. */
function modulesFor({ name, modules }: RecipeContext['model'], given: readonly string[] | undefined): string[] {
  if (!given || given.includes('all-linear')) return [...modules];
  const stray = given.find((module) => !modules.includes(module));
  if (stray !== undefined)
    throw new FettleError(
      'RECIPE_INVALID',
      `${name} has no layer named ${JSON.stringify(stray)}, so targetModules cannot name it.`,
      `targetModules takes ${modules.join(', ')}, with commas between, or all-linear.`,
      { details: { key: 'targetModules', value: given, allowed: [...modules] } },
    );
  return [...new Set(given)];
}

/** @throws RECIPE_INVALID for what the model has not, or has only once with another: a tied head is its embedding. */
function checkSaved({ name, spec }: RecipeContext['model'], given: readonly string[] = []): void {
  const known = [...saveable(spec).keys()];
  const stray = given.find((module) => !known.includes(module));
  if (stray !== undefined)
    throw new FettleError(
      'RECIPE_INVALID',
      `${name} has no part named ${JSON.stringify(stray)} that is trained in whole beside an adapter, so modulesToSave cannot name it.`,
      `modulesToSave takes ${known.join(', ')}, or none.`,
      { details: { key: 'modulesToSave', value: given, allowed: known } },
    );
}

/** Where positions are learned there are none beyond the last. @throws RECIPE_INVALID */
function checkLength({ name, spec }: RecipeContext['model'], maxLength: number): void {
  if (maxLength <= spec.maxPositions || spec.kinds.every(({ rotary }) => rotary)) return;
  throw new FettleError(
    'RECIPE_INVALID',
    `${name} has learned ${thousands(spec.maxPositions)} positions and knows none beyond them, so maxLength cannot be ${thousands(maxLength)}.`,
    `Use maxLength=${spec.maxPositions} or less.`,
    { details: { key: 'maxLength', value: maxLength, allowed: spec.maxPositions } },
  );
}

/** The recipe with `given` values (already checked) in place of recommended ones; what hangs on a given value follows it. */
export function preset(
  context: RecipeContext,
  given: Readonly<Record<string, unknown>>,
  freeMemoryBytes: number,
): { readonly recipe: Recipe; readonly reasons: Reasons } {
  const { strategy, data, model } = context;
  const instruct = strategy === 'instruct';
  // A value that was not given is not the recipe's default here: what is recommended takes its place.
  const partial = Object.fromEntries(
    Object.entries(Recipe.partial().parse(given)).filter(([key]) => key in given),
  ) as Partial<Recipe>;
  const wantedPrecision = precisionFor(context, partial);
  const rank = partial.rank ?? rankFor(context);
  const epochs = partial.epochs ?? epochsFor(context);
  const packing = partial.packing ?? true;
  const wantedLength = lengthFor(context, packing);
  const targetModules = modulesFor(model, partial.targetModules);
  checkSaved(model, partial.modulesToSave);
  checkLength(model, partial.maxLength ?? 0);
  const within = (length: number, rowsAtOnce: number, thrift: Thrift): boolean =>
    trainingMemory(
      model,
      { ...partial, ...thrift, rank, maxLength: length, batchSize: rowsAtOnce, packing, targetModules },
      { threads: context.threads, data },
    ) <= freeMemoryBytes;
  // What only takes time is given first, then exactness of what is frozen, and last the length of what is read.
  const asWished: Thrift = {
    activationCheckpointing: partial.activationCheckpointing ?? false,
    precision: wantedPrecision,
  };
  const thrifts: Thrift[] = [asWished];
  if (partial.activationCheckpointing === undefined) thrifts.push({ ...asWished, activationCheckpointing: true });
  if (partial.precision === undefined && !needsExact(partial))
    for (const fewer of ['fp16', 'int4'] as const) thrifts.push({ ...thrifts.at(-1)!, precision: fewer });
  const wishedLength = partial.maxLength ?? wantedLength;
  const thrift = thrifts.find((each) => within(wishedLength, 1, each)) ?? thrifts.at(-1)!;
  const { activationCheckpointing, precision } = thrift;
  const fits = (length: number, rowsAtOnce: number): boolean => within(length, rowsAtOnce, thrift);
  const maxLength = partial.maxLength ?? fittingLength(data, wantedLength, (length) => fits(length, 1));
  const rehearsal = partial.rehearsal ?? rehearsalFor(context);
  const rows = packedRows(withRehearsal(data, rehearsal), maxLength, packing);
  const accumulation = partial.gradientAccumulation ?? 1;
  const batchSize =
    partial.batchSize ??
    [8, 4, 2].find(
      (size) => Math.ceil(rows / (size * accumulation)) * epochs >= ENOUGH_STEPS && fits(maxLength, size),
    ) ??
    1;
  const steps = stepsOf({ epochs, batchSize, gradientAccumulation: accumulation, maxSteps: partial.maxSteps }, rows);
  const every = partial.evalEvery ?? Math.max(1, Math.min(100, Math.round(steps / 10)));
  const recipe = Recipe.parse({
    strategy,
    rank,
    alpha: rank * 2,
    learningRate: rateFor(context, partial.method ?? 'lora'),
    maxLength,
    epochs,
    packing,
    batchSize,
    evalEvery: every,
    saveEvery: every === 0 ? Math.max(1, Math.round(steps / 10)) : every,
    lossOn: instruct ? 'response' : 'all',
    rehearsal,
    earlyStopping: 3,
    activationCheckpointing,
    ...given,
    targetModules,
    precision,
  });
  const about: Reasons = {
    strategy: { reason: 'Chosen for this run.', usual: 'instruct for examples, non-instruct for text' },
    method: {
      reason:
        'A small adapter is trained and the model itself stays as it is: on the data of most projects as good as full tuning (Schulman et al. 2025), in a quarter of the memory, and it forgets less (Biderman et al. 2024).',
      usual: 'lora',
    },
    rank: {
      reason: instruct
        ? `Enough room for one task shown by ${thousands(data.trainRows)} examples: 16 below 5,000 of them, 32 from there on (Schulman et al. 2025).`
        : 'Text holds more to take in than examples do, and low ranks fall behind there (Biderman et al. 2024).',
      usual: '8 to 64',
    },
    alpha: { reason: 'Twice the rank, as in Biderman et al. 2024.', usual: 'rank to 4 times rank' },
    targetModules: {
      reason: 'On all linear layers an adapter learns as well as full tuning on small data (Schulman et al. 2025).',
      usual: 'all of them',
    },
    useRslora: {
      reason: 'Off: of use above rank 64 or so, where plain LoRA learns slower the larger it is (Kalajdzievski 2023).',
      usual: 'false',
    },
    useDora: {
      reason:
        'Off: sometimes a little better at low ranks (Liu et al. 2024), for more time a step; several stages with it cannot be one adapter.',
      usual: 'false',
    },
    dropout: {
      reason: 'None: with few readings of the data, stopping early guards better against learning by heart.',
      usual: '0 to 0.1',
    },
    modulesToSave: {
      reason: 'None: embedding and head are large, and matter where a vocabulary or a language is new.',
      usual: 'none',
    },
    loraPlusRatio: {
      reason:
        'Both matrices of the adapter take the same steps, as is usual; larger steps for the second can be quicker (Hayou et al. 2024).',
      usual: '1 to 16',
    },
    learningRate: {
      reason: `${recipe.method === 'full' ? 'A tenth of what an adapter takes' : 'About ten times what tuning all weights takes'} (Schulman et al. 2025), for a model of ${thousands(model.parameters / 1e6)} million parameters${instruct ? '' : '; half of it for raw text, which is easier to overdo'}.`,
      usual: usualRate(model, recipe.method),
    },
    schedule: { reason: 'Falls gently to nothing, so that the end of the run settles.', usual: 'cosine' },
    warmupRatio: { reason: 'The first steps are taken small.', usual: '0.03 to 0.1' },
    weightDecay: {
      reason:
        recipe.method === 'full'
          ? 'None: the run is short, and what the model knows should stay.'
          : 'An adapter is small already; decay gains nothing there.',
      usual: '0 to 0.1',
    },
    weightDecayOn: { reason: 'Norms, biases and magnitudes have a size that means something.', usual: 'matrices' },
    beta1: { reason: 'AdamW’s usual.', usual: '0.9' },
    beta2: { reason: 'AdamW’s usual.', usual: '0.95 to 0.999' },
    epsilon: { reason: 'AdamW’s usual.', usual: '1e-8' },
    maxGradNorm: { reason: 'One odd example cannot throw the model off.', usual: '0.3 to 1' },
    epochs: {
      reason: instruct
        ? `${thousands(data.trainRows)} examples; fewer examples are read more often.`
        : `About ${thousands(data.trainTokens)} tokens of text; up to four readings are nearly as good as new text (Muennighoff et al. 2023).`,
      usual: instruct ? '1 to 5' : '1 to 4',
    },
    maxSteps: { reason: 'Not set: the epochs decide.', usual: 'not set' },
    batchSize: {
      reason:
        batchSize === 1
          ? 'One row at a time: few data or little memory, and many small steps teach more than few large ones (Schulman et al. 2025).'
          : `The largest that leaves ${thousands(ENOUGH_STEPS)} steps or more and fits the memory; adapters bear large batches less well (Schulman et al. 2025).`,
      usual: '1 to 16',
    },
    gradientAccumulation: { reason: 'The batch is small enough to be taken at once.', usual: '1 to 16' },
    maxLength: {
      reason:
        maxLength < wantedLength
          ? `Shorter than the ${thousands(wantedLength)} that would suit the data, so that it fits the ${inWords(freeMemoryBytes)} of memory that are free.`
          : data.prose
            ? 'Long text is split into pieces of this length.'
            : data.usualLength > maxLength
              ? `99 of 100 examples stay within about ${thousands(data.usualLength)} tokens; attention grows with the square of the length, and longer rows are for GPUs.`
              : `99 of 100 examples stay within about ${thousands(data.usualLength)} tokens${data.longest === undefined ? '' : `, the longest has ${thousands(data.longest)}`}${packing ? '; several share a row' : ''}.`,
      usual: '256 to 2,048',
    },
    activationCheckpointing: {
      reason: activationCheckpointing
        ? `On, since ${inWords(freeMemoryBytes)} of memory are free: what a block holds is computed again on the way back, for far less memory and about a third more time.`
        : 'Off: nothing is computed twice. On, it takes far less memory and about a third more time.',
      usual: 'false, true where memory is short',
    },
    packing: {
      reason: 'Short examples share a row, without seeing each other, so nothing is spent on padding.',
      usual: 'true',
    },
    shuffle: { reason: 'The order of the file would be learned too.', usual: 'true' },
    lossOn: {
      reason: instruct ? 'It is to learn the answers, not the questions.' : 'Every word of the text is learned.',
      usual: instruct ? 'response' : 'all',
    },
    seed: { reason: 'The same seed gives the same run again.', usual: 'any' },
    precision: {
      reason:
        precision !== wantedPrecision
          ? thriftReason(precision, freeMemoryBytes)
          : precisionReason(recipe, context.speeds),
      usual: 'fp32; int8 is faster, fp16 and int4 take less memory',
    },
    device: {
      reason: onlyOnProcessor(recipe)
        ? `The processor: a graphics processor cannot do ${onlyOnProcessor(recipe)} yet.`
        : recipe.device === 'auto'
          ? 'The fastest that works here, tried when the run begins; it says which one and why.'
          : 'As you chose.',
      usual: 'auto',
    },
    evalEvery: {
      reason: 'Ten looks at the held-out rows in a run, and one every 100 steps in a long one.',
      usual: 'a tenth of the steps, 100 at most',
    },
    saveEvery: {
      reason:
        every === 0
          ? 'Ten times in a run, since nothing is measured in between.'
          : 'With each look, so that the best state is kept.',
      usual: 'as evalEvery',
    },
    earlyStopping: {
      reason: 'Three looks without a better held-out loss say that it only learns by heart from there.',
      usual: '0 (never) to 5',
    },
    keepCheckpoints: { reason: 'The best and the last are kept anyway.', usual: '0 to 3' },
    rehearsal: {
      reason: instruct
        ? 'None: your examples teach how to answer; where other skills must not suffer, 0.01 to 0.05 helps.'
        : model.kind.value === 'instruct'
          ? 'A twentieth of general requests and answers, so that an instruct model keeps answering while it reads text: 1% helps already, 5% suits a mild shift (Ibrahim et al. 2024).'
          : 'None: a base model has no answering to unlearn; for a strong shift of language or field up to 0.5 (Ibrahim et al. 2024).',
      usual: '0 to 0.5',
    },
    initAdapter: { reason: 'Not set: starts from the base model.', usual: 'not set' },
  };
  const reasons = Object.fromEntries(
    Object.entries(about).map(([key, each]) => [
      key,
      key in given && key !== 'strategy' && given[key] !== 'auto' ? { ...each, reason: 'You set this.' } : each,
    ]),
  );
  return { recipe, reasons };
}
