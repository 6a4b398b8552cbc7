/** @file fettle generate, compare, export: ask a model, measure models against each other, hand one over. */
import { resolve } from 'node:path';
import type { GenerationEvent, InputOf } from '../../contract/api.ts';
import {
  Check,
  ExportFormat,
  ExportType,
  type Answer,
  type Comparison,
  type Export,
  type Measured,
} from '../../contract/entities.ts';
import { proofInWords, readByLlamaCpp, TYPES_OF } from '../../contract/export-types.ts';
import { FettleError } from '../../contract/errors.ts';
import { needed, number, text, type Command, type Context } from '../command.ts';
import { bytes, count, table, wrap } from '../format.ts';
import { waitForSubject } from '../wait.ts';

/** Asks and waits for the whole answer; pieces are told as they come. */
export async function ask(
  { client, signal }: Context,
  request: InputOf<'generate.start'>,
  onPiece: (text: string) => void,
): Promise<Answer> {
  const { id } = await client.call('generate.start', request);
  const stop = (): void => void client.call('generate.stop', { id });
  signal.addEventListener('abort', stop);
  try {
    return await new Promise<Answer>((resolve, reject) => {
      client.subscribe(`generation:${id}`, 0, (_, event: GenerationEvent) => {
        if (event.type === 'piece') onPiece(event.text);
        else if (event.type === 'done') resolve(event.answer);
        else reject(FettleError.fromInfo(event.error));
      });
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

export async function compare(context: Context, request: InputOf<'evaluation.compare'>): Promise<Comparison> {
  const { id } = await context.client.call('evaluation.compare', request);
  await waitForSubject(context, 'compare', id);
  return context.client.call('evaluation.show', { comparison: id });
}

export function describeComparison({ say }: Pick<Context, 'say'>, { result }: Comparison): void {
  if (!result) return;
  say(
    table([
      ['  model', 'loss on unseen', '95% margin', 'perplexity'],
      ...result.losses.map(({ label, loss, perplexity }) => [
        `  ${label}`,
        loss.value.toFixed(4),
        `${loss.low.toFixed(4)} to ${loss.high.toFixed(4)}`,
        perplexity.toFixed(2),
      ]),
    ]),
  );
  for (const { sentence } of result.differences) say(wrap(sentence, '  '));
}

export async function exportRun(context: Context, request: InputOf<'exports.start'>): Promise<Export> {
  const { id } = await context.client.call('exports.start', request);
  await waitForSubject(context, 'export', id);
  return context.client.call('exports.show', { export: id });
}

export const judgeCommands: readonly Command[] = [
  {
    name: 'generate',
    usage: 'RUN|MODEL --prompt TEXT [--system TEXT] [--max-tokens N] [--temperature X] [--raw]',
    summary: 'Ask a run or a base model',
    args: [1, 1],
    options: {
      prompt: { type: 'string' },
      system: { type: 'string' },
      'max-tokens': { type: 'string' },
      temperature: { type: 'string' },
      raw: { type: 'boolean' },
    },
    help: 'RUN@CHECKPOINT asks a checkpoint. --raw goes on from the text as it stands, without the chat template.',
    async run(context) {
      const system = text(context, 'system');
      const [maxTokens, temperature] = [number(context, 'max-tokens'), number(context, 'temperature')];
      const answer = await ask(
        context,
        {
          target: context.args[0]!,
          prompt: needed(context, 'prompt'),
          ...(system === undefined ? {} : { system }),
          raw: context.options['raw'] === true,
          sampling: {
            ...(maxTokens === undefined ? {} : { maxTokens }),
            ...(temperature === undefined ? {} : { temperature }),
          },
        },
        (piece) => {
          if (!context.json) process.stdout.write(piece);
        },
      );
      context.say();
      context.result(answer);
    },
  },
  {
    name: 'compare',
    usage: 'A B [C] [D] [--project P] [--dataset D] [--answers N] [--check KIND[:TEXT]] [--general]',
    summary: 'Measure runs and base models on the same unseen rows',
    args: [2, 4],
    options: {
      project: { type: 'string' },
      dataset: { type: 'string' },
      answers: { type: 'string' },
      check: { type: 'string' },
      general: { type: 'boolean' },
    },
    help: `--answers N lets each answer N held-out questions, and judges them: --check is one of ${Check.shape.kind.options.join(', ')}, and what fits the expected answers where it is left out (contains:TEXT, pattern:REGEX, length:10-80).\n--general measures what was kept elsewhere on Fettle's own probes and other text.`,
    async run(context) {
      const { client } = context;
      const runs = await client.call('runs.list', {});
      const project =
        text(context, 'project') ??
        runs.find((run) => context.args.some((target) => target.split('@', 1)[0] === run.id))?.project;
      if (project === undefined)
        throw new FettleError(
          'USAGE',
          'Base models alone belong to no project.',
          'Name the project whose held-out rows are to be used: --project P.',
        );
      const dataset = text(context, 'dataset');
      const comparison = await compare(context, {
        project,
        targets: [...context.args],
        ...(dataset === undefined ? {} : { dataset }),
        samples: number(context, 'answers') ?? 1,
        ...checkOf(text(context, 'check')),
        general: context.options['general'] === true,
      });
      context.result(comparison);
      describeComparison(context, comparison);
      const { result } = comparison;
      const differing = result?.settings.filter(({ same }) => !same) ?? [];
      if (differing.length > 0)
        context.say(
          `\n${table([['  differs', ...result!.losses.map(({ label }) => label)], ...differing.map(({ key, values }) => [`  ${key}`, ...values])])}`,
        );
      describeScorecard(context, comparison);
      for (const { prompt, answers } of (result?.samples ?? []).slice(0, SHOWN)) {
        context.say(`\n${wrap(prompt, '  > ')}`);
        for (const [i, answer] of answers.entries())
          context.say(`\n  ${result!.losses[i]!.label}:\n${wrap(answer.text, '    ')}`);
      }
    },
  },
  {
    name: 'export',
    usage:
      'RUN --format adapter|gguf-adapter|safetensors|gguf|ollama [--quant TYPE] [--out DIR] [--checkpoint NAME|best|last] [--alone] [--with-base]',
    summary: 'Hand a run over as files that other programs load',
    args: [1, 1],
    options: {
      format: { type: 'string' },
      out: { type: 'string' },
      checkpoint: { type: 'string' },
      quant: { type: 'string' },
      dtype: { type: 'string' },
      alone: { type: 'boolean' },
      'with-base': { type: 'boolean' },
    },
    help: 'GGUF is for llama.cpp, LM Studio and Ollama: f32, f16, bf16, q8_0 (8 bits, unless another is named), q6_k, q5_k_m, q5_1, q5_0, q4_k_m, q4_1, q4_0. --dtype is another name of --quant.\nThe adapter of a second stage holds both stages as one and loads on the plain base; --alone gives its own part only.\ngguf-adapter is what llama.cpp puts on the base’s own GGUF with --lora. --with-base puts the base beside a PEFT adapter, in 32 bits.',
    async run(context) {
      const format = ExportFormat.safeParse(text(context, 'format') ?? 'adapter');
      if (!format.success) throw new FettleError('USAGE', `--format is one of ${ExportFormat.options.join(', ')}.`);
      const dtype = ExportType.optional().safeParse(text(context, 'quant') ?? text(context, 'dtype'));
      if (!dtype.success)
        throw new FettleError('USAGE', `--quant is one of ${TYPES_OF[format.data].join(', ')} for ${format.data}.`);
      const [out, checkpoint] = [text(context, 'out'), text(context, 'checkpoint')];
      const made = await exportRun(context, {
        alone: context.options['alone'] === true,
        withBase: context.options['with-base'] === true,
        run: context.args[0]!,
        format: format.data,
        ...(dtype.data === undefined ? {} : { dtype: dtype.data }),
        ...(out === undefined ? {} : { out: resolve(out) }),
        ...(checkpoint === undefined ? {} : { checkpoint }),
      });
      context.result(made);
      describeExport(context, made);
    },
  },
];

/** Answers that are printed whole. */
const SHOWN = 3;

/** KIND, KIND:TEXT, or length:LEAST-MOST. */
function checkOf(given: string | undefined): { check?: Check } {
  if (given === undefined) return {};
  const [kind = '', ...rest] = given.split(':');
  const detail = rest.join(':');
  const [least, most] = detail.split('-').map(Number);
  const check = Check.safeParse({
    kind,
    ...(kind === 'length' ? { least: least ?? 0, ...(most ? { most } : {}) } : detail === '' ? {} : { text: detail }),
  });
  if (check.success) return { check: check.data };
  throw new FettleError('USAGE', `--check is one of ${Check.shape.kind.options.join(', ')}.`);
}

function describeScorecard({ say }: Context, { result }: Comparison): void {
  const card = result?.scorecard;
  if (!card) return;
  const share = ({ value, low, high }: Measured): string =>
    `${Math.round(100 * value)}% (${Math.round(100 * low)} to ${Math.round(100 * high)})`;
  const lines = [
    ...(card.goal
      ? [[`  your task, by ${card.goal.check.kind} (${card.goal.items.length})`, ...card.goal.scores.map(share)]]
      : []),
    ...(card.general ? [[`  general skills (${card.general.count})`, ...card.general.scores.map(share)]] : []),
    ...card.skills.map(({ skill, items, scores }) => [`    ${skill} (${items.length})`, ...scores.map(share)]),
    ...(card.prose
      ? [
          [
            '  other text, nats a token',
            ...card.prose.losses.map(
              ({ value, low, high }) => `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`,
            ),
          ],
        ]
      : []),
  ];
  say(`\n${table([['  scorecard', ...result.losses.map(({ label }) => label)], ...lines])}`);
  for (const sentence of card.sentences) say(wrap(sentence, '  '));
}

export function describeExport(
  { say }: Pick<Context, 'say'>,
  { folder, format, bytes: size, files, proof, howTo }: Export,
): void {
  say(`${folder}  (${count(files.length)} files, ${bytes(size)})`);
  if (!proof) return;
  say(wrap(`Proof: ${proofInWords(proof)}.`, '  '));
  for (const { name, found } of proof.readers) say(wrap(`${name}: ${found}.`, '  '));
  if (proof.template)
    say(`  Template: ${proof.template.equal} of ${proof.template.conversations} conversations equal.`);
  if (readByLlamaCpp(format) && proof.readers.length === 0)
    say('  llama.cpp is not installed here, so it was not asked (npm install node-llama-cpp beside Fettle).');
  const [first] = howTo;
  if (first) say(`\n  ${first.client}:\n${first.lines.replaceAll(/^/gm, '    ')}\n  README.md in the folder has more.`);
}
