/** @file Values that are unusual: questioned, never blocked. */
import type { Plan } from '../contract/entities.ts';
import type { Recipe } from '../contract/recipe.ts';
import type { RecipeContext } from './preset.ts';

interface Doubt {
  readonly key: keyof Recipe;
  readonly when: (recipe: Recipe, context: RecipeContext, steps: number) => boolean;
  readonly question: (recipe: Recipe, context: RecipeContext, steps: number) => string;
}

const DOUBTS: readonly Doubt[] = [
  {
    key: 'learningRate',
    when: ({ learningRate, method }) => learningRate > (method === 'full' ? 3e-4 : 3e-3),
    question: ({ learningRate }) => `${learningRate} is a large step: the loss may jump or never settle. Is it meant?`,
  },
  {
    key: 'learningRate',
    when: ({ learningRate, method }) => learningRate < (method === 'full' ? 2e-6 : 2e-5),
    question: ({ learningRate }) => `${learningRate} is a small step: it may hardly learn. Is it meant?`,
  },
  {
    key: 'epochs',
    when: ({ epochs, maxSteps, strategy }) => maxSteps === undefined && epochs > (strategy === 'instruct' ? 6 : 4),
    question: ({ epochs, strategy }) =>
      strategy === 'instruct'
        ? `${epochs} readings of the same examples: it may learn them by heart. The held-out curve will show it.`
        : `${epochs} readings of the same text: from about 4 on, each teaches less (Muennighoff et al. 2023).`,
  },
  {
    key: 'rank',
    when: ({ rank }) => rank > 128,
    question: ({ rank }) => `Rank ${rank} makes a large adapter; 8 to 64 is usual. Is it meant?`,
  },
  {
    key: 'rank',
    when: ({ rank }) => rank < 4,
    question: ({ rank }) => `Rank ${rank} leaves little room to learn in; 8 to 64 is usual. Is it meant?`,
  },
  {
    key: 'rehearsal',
    when: ({ rehearsal }) => rehearsal > 0.5,
    question: ({ rehearsal }) =>
      `${Math.round(rehearsal * 100)}% of what it reads would be general data: up to half is usual even for a strong shift (Ibrahim et al. 2024).`,
  },
  {
    key: 'alpha',
    when: ({ alpha, rank }) => alpha < rank / 2 || alpha > rank * 4,
    question: ({ alpha, rank }) => `alpha ${alpha} with rank ${rank}: between the rank and 4 times the rank is usual.`,
  },
  {
    key: 'method',
    when: ({ method }) => method === 'full',
    question: () =>
      'All weights are trained: checkpoints are as large as the model, more is forgotten elsewhere, and no small adapter can be handed on. Is it meant?',
  },
  {
    key: 'precision',
    when: ({ precision }, { model }) => precision === 'int4' && model.parameters < 1e9,
    question: () =>
      '4 bits save memory, not time: a run is no faster, its first start rounds the model for a while, and a small model loses some of what it knows. fp32, fp16 or int8 suit it better where they fit. Is it meant?',
  },
  {
    key: 'dropout',
    when: ({ dropout }) => dropout > 0.3,
    question: ({ dropout }) => `${Math.round(dropout * 100)}% of what the adapter sees is dropped; up to 10% is usual.`,
  },
  {
    key: 'loraPlusRatio',
    when: ({ loraPlusRatio }) => loraPlusRatio > 16,
    question: ({ loraPlusRatio }) => `A ratio of ${loraPlusRatio} makes large steps; up to 16 is usual.`,
  },
  {
    key: 'maxLength',
    when: ({ maxLength }, { model }) => maxLength > model.contextLength,
    question: (_recipe, { model }) => `The model was made for ${model.contextLength} tokens; beyond it is guesswork.`,
  },
  {
    key: 'maxLength',
    when: ({ maxLength }, { data }) => !data.prose && maxLength < data.usualLength,
    question: ({ maxLength }, { data }) =>
      `Some examples are longer (about ${data.usualLength} tokens): what is beyond ${maxLength} is cut off, often the end of the answer.`,
  },
  {
    key: 'batchSize',
    when: (_recipe, _context, steps) => steps < 20,
    question: (_recipe, _context, steps) =>
      `Only ${steps} ${steps === 1 ? 'step' : 'steps'}: it will hardly move. A smaller batch or more epochs gives more.`,
  },
  {
    key: 'maxSteps',
    when: ({ maxSteps, batchSize, gradientAccumulation }, { data }) =>
      maxSteps !== undefined && data.trainRows > 0 && maxSteps * batchSize * gradientAccumulation > 20 * data.trainRows,
    question: ({ maxSteps, batchSize, gradientAccumulation }, { data }) =>
      `${maxSteps} steps read the data about ${Math.round((maxSteps! * batchSize * gradientAccumulation) / data.trainRows)} times: 1 to 5 is usual.`,
  },
  {
    key: 'maxLength',
    when: ({ maxLength }) => maxLength < 64,
    question: ({ maxLength }) =>
      `${maxLength} tokens are a sentence or two: little can be learned from pieces so short.`,
  },
  {
    key: 'beta1',
    when: ({ beta1 }) => beta1 < 0.8 || beta1 > 0.95,
    question: ({ beta1 }) => `beta1 of ${beta1}: 0.9 is usual.`,
  },
  {
    key: 'beta2',
    when: ({ beta2 }) => beta2 < 0.9,
    question: ({ beta2 }) => `beta2 of ${beta2}: 0.95 to 0.999 is usual.`,
  },
  {
    key: 'epsilon',
    when: ({ epsilon }) => epsilon > 1e-4,
    question: ({ epsilon }) => `An epsilon of ${epsilon} shrinks the steps of most weights; 1e-8 is usual.`,
  },
  {
    key: 'gradientAccumulation',
    when: ({ gradientAccumulation }) => gradientAccumulation > 64,
    question: ({ gradientAccumulation }) => `${gradientAccumulation} batches to one step: 1 to 16 is usual.`,
  },
  {
    key: 'keepCheckpoints',
    when: ({ keepCheckpoints }) => keepCheckpoints > 20,
    question: ({ keepCheckpoints }) => `${keepCheckpoints} checkpoints take that much disk; 0 to 3 is usual.`,
  },
  {
    key: 'warmupRatio',
    when: ({ warmupRatio }) => warmupRatio > 0.3,
    question: ({ warmupRatio }) =>
      `${Math.round(warmupRatio * 100)}% of the run is spent warming up; 3 to 10% is usual.`,
  },
  {
    key: 'weightDecay',
    when: ({ weightDecay }) => weightDecay > 0.1,
    question: ({ weightDecay }) =>
      `A weight decay of ${weightDecay} pulls the adapter back strongly; up to 0.1 is usual.`,
  },
  {
    key: 'lossOn',
    when: ({ lossOn, strategy }) => strategy === 'instruct' && lossOn === 'all',
    question: () => 'It will learn to write the questions too. Is it meant?',
  },
  {
    key: 'maxGradNorm',
    when: ({ maxGradNorm }) => maxGradNorm === 0,
    question: () => 'Without clipping, one odd example can throw the model off.',
  },
  {
    key: 'shuffle',
    when: ({ shuffle }) => !shuffle,
    question: () => 'The examples come in the order of the file, which is learned too. Is it meant?',
  },
  {
    key: 'earlyStopping',
    when: ({ earlyStopping, evalEvery }) => earlyStopping > 0 && evalEvery === 0,
    question: () =>
      'Early stopping needs looks at the held-out rows during the run: evalEvery is 0, so it will never stop early.',
  },
];

export function doubts(recipe: Recipe, context: RecipeContext, steps: number): Plan['questions'] {
  return DOUBTS.filter((doubt) => doubt.when(recipe, context, steps)).map((doubt) => ({
    key: doubt.key,
    question: doubt.question(recipe, context, steps),
  }));
}
