/** @file fettle generate, evaluate, compare, export: ask a model, measure it alone or against others, hand one over. */
import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { GenerationEvent, InputOf } from '../../contract/api.ts';
import {
  Check,
  ExportFormat,
  ExportType,
  SuiteName,
  type Answer,
  type Comparison,
  type ComparisonResult,
  type Export,
  type Measured,
} from '../../contract/entities.ts';
import { keptInWords, otherReader, proofInWords, textInWords, TYPES_OF } from '../../contract/export-types.ts';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { hasMargin } from '../../contract/margin.ts';
import { rowsInWords, suitesInWords } from '../../contract/measured-on.ts';
import { needed, text, whole, type Command, type Context } from '../command.ts';
import { bytes, count, table, wrap } from '../format.ts';
import { SAMPLING_HELP, SAMPLING_OPTIONS, samplingOf } from '../sampling.ts';
import { waitForSubject } from '../wait.ts';

/** Asks and waits for the whole answer; pieces are told as they come. */
async function ask(
  context: Context,
  request: InputOf<'generate.start'>,
  onPiece: (text: string) => void,
): Promise<Answer> {
  const { id } = await context.client.call('generate.start', request);
  return tellAnswer(context, id, onPiece);
}

/** An answer that was asked for, to its end; Ctrl-C stops it. @throws what it failed with. */
export async function tellAnswer(
  { client, signal }: Context,
  id: string,
  onPiece: (text: string) => void,
): Promise<Answer> {
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
  if (!result || result.losses.length === 0) return;
  say(
    table([
      ['  model', 'loss on unseen', '95% margin', 'perplexity'],
      ...result.losses.map(({ label, loss, perplexity }) => [
        `  ${label}`,
        loss.value.toFixed(4),
        hasMargin(result.heldOutRows) ? `${loss.low.toFixed(4)} to ${loss.high.toFixed(4)}` : 'none, of one row',
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

const MEASURING = {
  suite: { type: 'string', multiple: true },
  project: { type: 'string' },
  dataset: { type: 'string' },
  answers: { type: 'string' },
  check: { type: 'string', multiple: true },
} as const;
const HELP = `--suite, which may be given several times:
  held-out  loss on the project's held-out rows
  task      held-out questions answered (--answers N, 20 where it is left out) and judged by checks
  general   Fettle's own probes, 14 general skills: some minutes a model
  prose     loss on text of eight kinds that nobody tunes for here
--check may be given several times, and an answer is right that meets them all: ${Check.shape.kind.options.join(', ')}
(contains:TEXT, pattern:REGEX, json:SCHEMA, length:10-80). Left out: what fits the expected answers; of documents, nothing.
Held-out rows that a compared model or a stage under it was trained on are left out, and it is said how many.`;

export const judgeCommands: readonly Command[] = [
  {
    name: 'generate',
    usage: 'RUN|MODEL --prompt TEXT [--system TEXT] [--max-tokens N] [--temperature X] [--stop TEXT]... [--raw]',
    summary: 'Ask a run or a base model',
    args: [1, 1],
    options: {
      prompt: { type: 'string' },
      system: { type: 'string' },
      stop: { type: 'string', multiple: true },
      raw: { type: 'boolean' },
      ...SAMPLING_OPTIONS,
    },
    help: `RUN@CHECKPOINT asks a checkpoint. --raw goes on from the text as it stands, without the chat template. --stop ends the answer before that text. ${SAMPLING_HELP}`,
    async run(context) {
      const system = text(context, 'system');
      const { stop } = context.options;
      const answer = await ask(
        context,
        {
          target: context.args[0]!,
          prompt: needed(context, 'prompt'),
          ...(system === undefined ? {} : { system }),
          raw: context.options['raw'] === true,
          sampling: samplingOf(context),
          ...(Array.isArray(stop) ? { stop: stop.map(String) } : {}),
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
    name: 'evaluate',
    usage: 'RUN|MODEL [--suite NAME]... [--project P] [--dataset D] [--answers N] [--check KIND[:TEXT]]...',
    summary: 'Measure one run or model alone',
    args: [1, 1],
    options: MEASURING,
    help: `${HELP}\nWithout --suite, all four.`,
    async run(context) {
      const measured = await compare(context, await measuringOf(context, SuiteName.options));
      context.result(measured);
      describeAll(context, measured);
    },
  },
  {
    name: 'compare',
    usage: 'A B [C]... [--suite NAME]... [--project P] [--dataset D] [--answers N] [--check KIND[:TEXT]]...',
    summary: 'Measure runs and base models against each other',
    args: [2, 6],
    options: MEASURING,
    help: `${HELP}\nWithout --suite, held-out and task. Each further one is compared with the first.`,
    async run(context) {
      const comparison = await compare(context, await measuringOf(context, ['held-out', 'task']));
      context.result(comparison);
      describeAll(context, comparison);
    },
  },
  {
    name: 'report',
    usage: 'RUN --out FILE [--comparison C] [--force]',
    summary: 'The report for the desk: one HTML file to print or to pass on',
    args: [1, 1],
    options: { out: { type: 'string' }, comparison: { type: 'string' }, force: { type: 'boolean' } },
    help: 'It rests on the newest comparison of the run unless one is named. A file that exists is overwritten with --force only.',
    async run(context) {
      const file = resolve(needed(context, 'out'));
      const force = context.options['force'] === true;
      // Before the work is done, and again when it is written.
      if (existsSync(file) && !force) throw exists(file);
      if (!existsSync(dirname(file)))
        throw new FettleError(
          'FILE_NOT_FOUND',
          `The folder ${dirname(file)} does not exist.`,
          'Make it, or name another one.',
        );
      const comparison = text(context, 'comparison');
      const { html } = await context.client.call('evaluation.report', {
        run: context.args[0]!,
        ...(comparison === undefined ? {} : { comparison }),
      });
      await writeWhole(file, html, force);
      context.result({ file, bytes: Buffer.byteLength(html) });
      context.say(`${file}  (${bytes(Buffer.byteLength(html))})`);
    },
  },
  {
    name: 'export',
    usage:
      'RUN --format adapter|gguf-adapter|safetensors|gguf|ollama|onnx [--quant TYPE] [--out DIR] [--checkpoint NAME|best|last] [--alone] [--with-base]',
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
    help: 'GGUF is for llama.cpp and LM Studio, ollama (a folder with a GGUF and a Modelfile) for Ollama: f32, f16, bf16, q8_0 (8 bits, unless another is named), q6_k, q5_k_m, q5_1, q5_0, q4_k_m, q4_1, q4_0. --dtype is another name of --quant.\nONNX is for transformers.js and onnxruntime-genai: q8 (8 bits, unless another is named), f32, f16, q4.\nThe adapter of a second stage holds both stages as one and loads on the plain base; --alone gives its own part only.\ngguf-adapter is what llama.cpp puts on the base’s own GGUF with --lora. --with-base puts the base beside a PEFT adapter, in 32 bits.',
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

async function measuringOf(context: Context, usual: readonly SuiteName[]): Promise<InputOf<'evaluation.compare'>> {
  const { client, args } = context;
  const runs = await client.call('runs.list', {});
  const project =
    text(context, 'project') ?? runs.find((run) => args.some((target) => target.split('@', 1)[0] === run.id))?.project;
  if (project === undefined)
    throw new FettleError(
      'USAGE',
      'Base models alone belong to no project.',
      'Name the project whose held-out rows are to be used, and that keeps the result: --project P.',
    );
  const dataset = text(context, 'dataset');
  const given = all(context, 'suite');
  const suites = SuiteName.array().safeParse(given.length > 0 ? given : usual);
  if (!suites.success) throw new FettleError('USAGE', `--suite is one of ${SuiteName.options.join(', ')}.`);
  const answers = whole(context, 'answers', 0, 200);
  return {
    project,
    targets: [...args],
    suites: suites.data,
    ...(dataset === undefined ? {} : { dataset }),
    ...(answers === undefined ? {} : { samples: answers }),
    checks: all(context, 'check').map(checkOf),
  };
}

const all = ({ options }: Context, name: string): string[] => {
  const given = options[name];
  return Array.isArray(given) ? given.map(String) : [];
};

/** KIND, KIND:TEXT, or length:LEAST-MOST. */
function checkOf(given: string): Check {
  const [kind = '', ...rest] = given.split(':');
  const detail = rest.join(':');
  const [least, most] = detail.split('-').map(Number);
  const check = Check.safeParse({
    kind,
    ...(kind === 'length' ? { least: least ?? 0, ...(most ? { most } : {}) } : detail === '' ? {} : { text: detail }),
  });
  if (check.success) return check.data;
  if (kind === 'length')
    throw new FettleError(
      'USAGE',
      `${given} names no length.`,
      'Say how many words: length:10-80, or length:10 for 10 and more.',
    );
  throw new FettleError('USAGE', `--check is one of ${Check.shape.kind.options.join(', ')}.`);
}

/** @param samples whether the first questions are shown with their answers. */
export function describeAll(context: Context, comparison: Comparison, samples = true): void {
  const { say } = context;
  const { result, verdicts } = comparison;
  if (!result) return;
  const labels = result.models.map(({ label }) => label);
  for (const { target, title, because, next } of verdicts) {
    const whose = labels[result.models.findIndex((model) => model.target === target)];
    say(verdicts.length > 1 ? `${whose}: ${title}` : title);
    say(wrap(because, '  '));
    for (const { what, why } of next) say(wrap(`Next: ${what} ${why}`, '  '));
    say();
  }
  describeComparison(context, comparison);
  const differing = result.settings.filter(({ same }) => !same);
  if (differing.length > 0)
    say(`\n${table([['  differs', ...labels], ...differing.map(({ key, values }) => [`  ${key}`, ...values])])}`);
  describeScorecard(context, result);
  say(`\n${wrap(`Measured on ${suitesInWords(result)}.`, '  ')}`);
  for (const sentence of rowsInWords(result)) say(wrap(sentence, '  '));
  for (const { prompt, answers } of result.samples.slice(0, samples ? SHOWN : 0)) {
    say(`\n${wrap(prompt, '  > ')}`);
    for (const [i, answer] of answers.entries()) say(`\n  ${labels[i]}:\n${wrap(answer.text, '    ')}`);
  }
}

function describeScorecard({ say }: Context, result: ComparisonResult): void {
  const card = result.scorecard;
  if (!card) return;
  const share = ({ value, low, high }: Measured): string =>
    `${Math.round(100 * value)}% (${Math.round(100 * low)} to ${Math.round(100 * high)})`;
  const checks = card.goal && card.goal.checks.length > 1 ? card.goal.checks : [];
  const lines = [
    ...(card.goal
      ? [
          [
            `  your task, by ${card.goal.checks.map(({ check }) => check.kind).join(' and ')} (${card.goal.items.length})`,
            ...card.goal.scores.map(share),
          ],
        ]
      : []),
    ...checks.map(({ check, scores }) => [
      `    ${check.kind}${check.text ? ` ${JSON.stringify(check.text)}` : ''}`,
      ...scores.map(share),
    ]),
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
          ...card.prose.domains.map(({ domain, losses }) => [
            `    ${domain.replaceAll('-', ' ')}`,
            ...losses.map((loss) => loss.toFixed(3)),
          ]),
        ]
      : []),
  ];
  say(`\n${table([['  scorecard', ...result.models.map(({ label }) => label)], ...lines])}`);
  for (const sentence of card.sentences) say(wrap(sentence, '  '));
}

const exists = (file: string): FettleError =>
  new FettleError('TARGET_EXISTS', `${file} exists already.`, 'Name another file, or add --force to overwrite it.');

/** Under a temporary name first, so that nothing half-written lies there. @throws TARGET_EXISTS */
async function writeWhole(file: string, content: string, force: boolean): Promise<void> {
  const temporary = `${file}.${process.pid}.part`;
  try {
    await writeFile(temporary, content, { flag: 'wx' });
    if (existsSync(file) && !force) throw exists(file);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw toFettleError(error);
  }
}

export function describeExport(
  { say }: Pick<Context, 'say'>,
  { folder, format, bytes: size, files, proof, howTo }: Export,
): void {
  say(`${folder}  (${count(files.length)} files, ${bytes(size)})`);
  if (!proof) return;
  say(wrap(`Proof: ${proofInWords(proof)}.`, '  '));
  const kept = keptInWords(proof);
  if (kept !== null) say(wrap(`The run was asked ${kept}.`, '  '));
  for (const { name, found } of proof.readers) say(wrap(`${name}: ${found}.`, '  '));
  if (proof.text) say(wrap(`${textInWords(proof.text)}.`, '  '));
  if (proof.template)
    say(`  Template: ${proof.template.equal} of ${proof.template.conversations} conversations equal.`);
  const other = otherReader(format);
  if (other && proof.readers.length === 0)
    say(`  ${other.name} is not installed here, so it was not asked (npm install ${other.npm} beside Fettle).`);
  const [first] = howTo;
  if (first) say(`\n  ${first.client}:\n${first.lines.replaceAll(/^/gm, '    ')}\n  README.md in the folder has more.`);
}
