/** @file The model card that travels with an export: lineage, recipe, data in numbers, measured results. Nothing of the data itself, no path of this machine. */
import type { AdviceStrategy, Checkpoint, Export, Proof } from '../contract/entities.ts';
import { proofInWords } from '../contract/export-types.ts';
import type { Recipe, Strategy } from '../contract/recipe.ts';

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
  readonly strategy: Strategy;
  readonly advice: { readonly strategy: AdviceStrategy; readonly summary: string } | null;
  readonly choice: { readonly reason: string; readonly overruled: boolean } | null;
  readonly data: {
    readonly kind: string;
    readonly trainRows: number;
    readonly heldOutRows: number;
    readonly words: number;
    readonly hash: string;
  };
  readonly recipe: Omit<Recipe, 'initAdapter'>;
  /** The stages that it stands on, first to last; `alone` where this export leaves them out. */
  readonly stages: readonly { readonly run: string; readonly strategy: Strategy; readonly checkpoint: string }[];
  readonly alone: boolean;
  readonly startedFromAdapter: boolean;
  readonly checkpoint: Checkpoint | null;
  readonly steps: number;
  readonly tokens: number;
  readonly heldOutLossStart: number | null;
  readonly versions: Readonly<Record<string, string>>;
}

/** By what Hugging Face's pages show how to load it. */
const LIBRARY: Readonly<Record<Exclude<Export['format'], 'adapter'>, string>> = {
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

/** README.md of an export, with the front matter that Hugging Face's tools read. */
export function modelCard(facts: CardFacts, format: Export['format'], dtype: Export['dtype'], proof: Proof): string {
  const { base, data, recipe, checkpoint } = facts;
  const adapter = format === 'adapter';
  return [
    '---',
    ...(base.license ? [`license: ${yaml(base.license)}`] : []),
    `base_model: ${yaml(base.name)}`,
    ...(format === 'adapter'
      ? ['library_name: peft', 'base_model_relation: adapter']
      : [
          `library_name: ${LIBRARY[format]}`,
          `base_model_relation: ${dtype.startsWith('q') ? 'quantized' : 'finetune'}`,
        ]),
    'pipeline_tag: text-generation',
    'tags: [fettle, lora]',
    '---',
    '',
    `# ${plain(facts.title)}`,
    '',
    adapter
      ? `A LoRA adapter for ${plain(base.name)}, made with Fettle.`
      : `${plain(base.name)} with a LoRA adapter merged into its weights (${dtype}), made with Fettle.`,
    '',
    '## Where it comes from',
    '',
    ...table([
      [
        'Base model',
        `${plain(base.name)} (${base.architecture}, ${count(base.parameters)} parameters, weights stored as ${base.storage})`,
      ],
      ['SHA-256 of the base', code(base.hash)],
      ['Licence of the base', base.license ? plain(base.license) : 'not stated in its files'],
      ['Strategy', STRATEGY_WORDS[facts.strategy]],
      ...(facts.advice ? [['Advised', STRATEGY_WORDS[facts.advice.strategy]] as const] : []),
      ...(facts.choice?.overruled
        ? [['Chosen against the advice', plain(facts.choice.reason) || 'no reason given'] as const]
        : []),
      [
        'Data',
        `${data.kind}: ${count(data.trainRows)} rows trained on, ${count(data.heldOutRows)} held out, ${count(data.words)} words`,
      ],
      ['SHA-256 of the data', code(data.hash)],
      ...facts.stages.map(
        ({ run, strategy, checkpoint }) =>
          [
            'Stands on',
            `${plain(run)}, ${checkpoint}: ${STRATEGY_WORDS[strategy]}${facts.alone ? '; its adapter must be merged into the base before this one is put on' : ' (part of these files)'}`,
          ] as const,
      ),
      ...(facts.recipe.rehearsal > 0
        ? [
            [
              'Rehearsal',
              `${Math.round(facts.recipe.rehearsal * 1000) / 10}% of the training tokens were general data of Fettle’s own`,
            ] as const,
          ]
        : []),
      ...(facts.startedFromAdapter ? [['Began from', 'another adapter'] as const] : []),
    ]),
    '',
    '## What was measured',
    '',
    ...table([
      ['Steps', `${count(checkpoint?.step ?? facts.steps)} of ${count(facts.steps)}`],
      ['Tokens seen', count(facts.tokens)],
      ['Loss on held-out rows before', nats(facts.heldOutLossStart)],
      ['Loss on held-out rows of this checkpoint', nats(checkpoint?.heldOutLoss ?? null)],
      ['Proof of this export', proofInWords(proof)],
      ...proof.readers.map(({ name, found }) => [`Read by ${name}`, found] as const),
    ]),
    '',
    ...(adapter && base.storage !== 'F32' ? [...baseNote(base.storage), ''] : []),
    '## Recipe',
    '',
    '```json',
    JSON.stringify(recipe, null, 2),
    '```',
    '',
    `Made with ${Object.entries(facts.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
  ].join('\n');
}

const baseNote = (storage: string): string[] => [
  `The base model's weights are stored as ${storage} and were widened to float32 for training. The adapter fits exactly those weights; on another copy of the same model (of another precision) its results differ a little.`,
];

const table = (rows: readonly (readonly [string, string])[]): string[] => [
  '| | |',
  '|---|---|',
  ...rows.map(([name, value]) => `| ${name} | ${value.replaceAll('|', '\\|')} |`),
];
const count = (value: number): string => value.toLocaleString('en-GB');
const nats = (value: number | null): string =>
  value === null ? 'not measured' : `${value.toFixed(4)} nats a token (perplexity ${Math.exp(value).toFixed(2)})`;
const code = (value: string): string => `\`${value}\``;
/** Names come from files and people: one line, no markup. */
const plain = (value: string): string =>
  value
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[<>`*_[\]]/g, (c) => `\\${c}`)
    .trim();
const yaml = (value: string): string => JSON.stringify(value.replaceAll(/\s+/g, ' '));
