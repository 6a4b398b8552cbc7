/** @file The model card that travels with an export: lineage, recipe, data in numbers, measured results. Nothing of the data itself, no path of this machine. */
import { howToInMarkdown, type Handed } from '../contract/clients.ts';
import type { AdviceStrategy, Checkpoint, Comparison, Export, Imported, Proof } from '../contract/entities.ts';
import { keptInWords, proofInWords, textInWords } from '../contract/export-types.ts';
import type { Recipe, Strategy } from '../contract/recipe.ts';
import { scorecard } from './card-scorecard.ts';
import { code, count, nats, plain, table, yaml } from './markdown.ts';

export interface CardFacts {
  readonly title: string;
  readonly base: {
    readonly name: string;
    readonly license: string | null;
    readonly architecture: string;
    readonly parameters: number;
    /** How its weights were stored: "Q4_1", "BF16". */
    readonly storage: string;
    readonly hash: string;
  };
  /** Strategy, data and recipe are null of an adapter that was made elsewhere. */
  readonly strategy: Strategy | null;
  readonly imported: Imported | null;
  readonly advice: { readonly strategy: AdviceStrategy; readonly summary: string } | null;
  readonly choice: { readonly reason: string; readonly overruled: boolean } | null;
  readonly data: {
    readonly kind: string;
    readonly trainRows: number;
    readonly heldOutRows: number;
    readonly words: number;
    readonly hash: string;
  } | null;
  readonly recipe: PublicRecipe | null;
  /** The stages that it stands on, first to last; `alone` where this export leaves them out. */
  readonly stages: readonly {
    readonly run: string;
    readonly strategy: Strategy | null;
    readonly recipe: PublicRecipe | null;
    readonly dataHash: string | null;
    readonly checkpoint: string;
  }[];
  readonly alone: boolean;
  /** The base lies beside the adapter. */
  readonly withBase: boolean;
  /** The newest comparison that this checkpoint was in: which of its targets it is, and what was measured. */
  readonly comparison: { readonly self: number; readonly result: NonNullable<Comparison['result']> } | null;
  readonly startedFromAdapter: boolean;
  readonly checkpoint: Checkpoint | null;
  readonly steps: number;
  readonly tokens: number;
  readonly heldOutLossStart: number | null;
  readonly versions: Readonly<Record<string, string>>;
}

/** A recipe without what names a place on this machine. */
export type PublicRecipe = Omit<Recipe, 'initAdapter'>;

/** By what Hugging Face's pages show how to load it. */
const LIBRARY: Readonly<Record<Export['format'], string>> = {
  adapter: 'peft',
  'gguf-adapter': 'gguf',
  safetensors: 'transformers',
  gguf: 'gguf',
  ollama: 'gguf',
  onnx: 'transformers.js',
};

const STRATEGY_WORDS: Readonly<Record<AdviceStrategy, string>> = {
  instruct: 'instruct tuning (examples, loss on the answers)',
  'non-instruct': 'non-instruct tuning (text, loss on everything)',
  staged: 'both in stages',
  'do-not-tune': 'not to tune',
};

/** The scorecard counts more of a long row, so its loss is another figure. */
const upTo = (recipe: PublicRecipe | null): string =>
  recipe === null ? '' : `, up to ${count(recipe.maxLength)} tokens of each`;

const strategyWords = (strategy: AdviceStrategy | null): string =>
  strategy === null ? 'not known: it was made elsewhere' : STRATEGY_WORDS[strategy];

/** README.md of an export, with the front matter that Hugging Face's tools read. */
export function modelCard(
  facts: CardFacts,
  { format, dtype, proof }: Pick<Export, 'format' | 'dtype'> & { readonly proof: Proof },
  handed: Omit<Handed, 'format'>,
): string {
  const { base, data, recipe, checkpoint, imported } = facts;
  const adapter = format === 'adapter' || format === 'gguf-adapter';
  const kept = keptInWords(proof);
  return [
    '---',
    ...(base.license ? [`license: ${yaml(base.license)}`] : []),
    `base_model: ${yaml(base.name)}`,
    `library_name: ${LIBRARY[format]}`,
    `base_model_relation: ${adapter ? 'adapter' : dtype.startsWith('q') ? 'quantized' : 'finetune'}`,
    'pipeline_tag: text-generation',
    recipe?.method === 'full' ? 'tags: [fettle]' : 'tags: [fettle, lora]',
    '---',
    '',
    `# ${plain(facts.title)}`,
    '',
    adapter
      ? `A LoRA adapter${format === 'adapter' ? '' : ` as GGUF (${dtype})`} for ${plain(base.name)}, ${imported ? 'made elsewhere and handed on' : 'made'} with Fettle.`
      : `${plain(base.name)} ${recipe?.method === 'full' ? 'with all its weights trained' : 'with a LoRA adapter merged into its weights'} (${dtype}), made with Fettle.`,
    '',
    '## Where it comes from',
    '',
    ...table([
      [
        'Base model',
        `${plain(base.name)} (${base.architecture}, ${count(base.parameters)} parameters, weights stored as ${base.storage})`,
      ],
      ['Fettle’s hash of the base', code(base.hash)],
      ...(adapter && handed.base.hash !== base.hash
        ? [['SHA-256 of the base’s file of weights', code(handed.base.hash)] as const]
        : []),
      ['Licence of the base', base.license ? plain(base.license) : 'not stated in its files'],
      ['Strategy', strategyWords(facts.strategy)],
      ...(imported ? importedRows(imported) : []),
      ...(facts.advice
        ? [['Advised', `${STRATEGY_WORDS[facts.advice.strategy]}. ${plain(facts.advice.summary)}`] as const]
        : []),
      ...(facts.choice?.overruled
        ? [['Chosen against the advice', plain(facts.choice.reason) || 'no reason given'] as const]
        : []),
      ...(data
        ? ([
            [
              'Data',
              `${data.kind}: ${count(data.trainRows)} rows trained on, ${count(data.heldOutRows)} held out, ${count(data.words)} words`,
            ],
            ['SHA-256 of the data', code(data.hash)],
          ] as const)
        : []),
      ...facts.stages.map(
        ({ run, strategy, checkpoint }) =>
          [
            'Stands on',
            `${plain(run)}, ${checkpoint}: ${strategyWords(strategy)}${facts.alone ? '; its adapter must be merged into the base before this one is put on' : ' (part of these files)'}`,
          ] as const,
      ),
      ...(recipe && recipe.rehearsal > 0
        ? [
            [
              'Rehearsal',
              `${Math.round(recipe.rehearsal * 1000) / 10}% of the training tokens were general data of Fettle’s own`,
            ] as const,
          ]
        : []),
      ...(facts.startedFromAdapter ? [['Began from', 'another adapter'] as const] : []),
    ]),
    '',
    '## What was measured',
    '',
    ...table([
      ...(imported
        ? []
        : ([
            ['Steps', `${count(checkpoint?.step ?? facts.steps)} of ${count(facts.steps)}`],
            ['Tokens seen', count(facts.tokens)],
            [`Loss on held-out rows before${upTo(recipe)}`, nats(facts.heldOutLossStart)],
            [`Loss on held-out rows of this checkpoint${upTo(recipe)}`, nats(checkpoint?.heldOutLoss ?? null)],
          ] as const)),
      ['Proof of this export', proofInWords(proof)],
      ...(kept === null ? [] : [['The run was asked', kept] as const]),
      ...(proof.text ? [['Its text', textInWords(proof.text)] as const] : []),
      ...proof.readers.map(({ name, found }) => [`Read by ${name}`, found] as const),
    ]),
    '',
    ...(facts.comparison ? [...scorecard(facts.comparison), ''] : []),
    ...(adapter ? [baseNote(facts, format, handed), ''] : []),
    '## How to run it',
    '',
    ...howToInMarkdown({ ...handed, format }),
    ...(recipe
      ? [
          '## Recipe',
          '',
          '```json',
          JSON.stringify(recipe, null, 2),
          '```',
          '',
          '`recipe.json` holds the same with the hashes of model and data: with both in Fettle, `fettle train PROJECT --model MODEL --recipe recipe.json` trains it again. `proof.json` holds the figures of the proof.',
          '',
        ]
      : []),
    `Made with ${Object.entries(facts.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
  ].join('\n');
}

/** recipe.json: what it takes to make it again. With an adapter the base's file is named by its own hash too. */
export const recipeFile = (facts: CardFacts, handed: Pick<Handed, 'base'>): Record<string, unknown> => {
  const { base, data, imported, strategy, recipe, checkpoint, stages, versions } = facts;
  return {
    base: {
      name: base.name,
      hash: base.hash,
      storage: base.storage,
      ...(handed.base.hash === base.hash ? {} : { fileSha256: handed.base.hash }),
    },
    ...(imported ? { imported } : {}),
    ...(data ? { data: { hash: data.hash, kind: data.kind, trainRows: data.trainRows } } : {}),
    strategy,
    checkpoint: checkpoint?.name ?? null,
    recipe,
    stages: stages.map(({ run: _, ...stage }) => stage),
    versions,
  };
};

const importedRows = ({
  name,
  base,
  rank,
  alpha,
  useRslora,
  useDora,
  modulesToSave,
  targetModules,
  hash,
}: Imported): (readonly [string, string])[] => [
  ['Made elsewhere', plain(name)],
  ['Its files name as base', base === null ? 'nothing' : plain(base)],
  [
    'LoRA',
    `rank ${rank}, alpha ${alpha}${useRslora ? ', rsLoRA' : ''}${useDora ? ', DoRA' : ''}, ${[...targetModules, ...modulesToSave].join(', ')}`,
  ],
  ['SHA-256 of its weights as they came', code(hash)],
];

/** What the adapter fits. */
function baseNote(
  { base, withBase }: CardFacts,
  format: Export['format'],
  { base: { gguf, severalFiles }, over }: Pick<Handed, 'base' | 'over'>,
): string {
  const widened =
    base.storage === 'F32'
      ? 'The base model’s weights have 32 bits.'
      : `The base model’s weights are stored as ${base.storage} and were widened to 32 bits for training.`;
  if (withBase)
    return `${widened} The folder \`base\` holds them so${over ? ', with the stages before merged into them' : ''}: the adapter fits exactly those.`;
  if (over)
    return `${widened} This adapter holds the part of its own stage only: it fits ${plain(over.run)}, ${over.checkpoint}, merged into its base (${format === 'gguf-adapter' ? 'exported as GGUF' : 'exported as a merged folder'}), and not the plain base.`;
  if (format === 'gguf-adapter')
    return gguf
      ? `${widened} llama.cpp puts the adapter on the file with the hash above as it is.`
      : `${widened} The base came as a folder, and llama.cpp takes the adapter on a GGUF: make a GGUF of the base first. The hash above is that of ${severalFiles ? 'the folder’s files together, as Fettle counts it' : 'the folder’s file of weights'}, not of a GGUF.`;
  return `${widened} The adapter fits exactly those weights; on another copy of the same model (of another precision) its results differ a little. The base is not part of these files: the hash above${severalFiles ? ', of all its files together as Fettle counts it,' : ''} tells whether yours is the same.`;
}
