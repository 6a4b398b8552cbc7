/** @file fettle answer: a file of inputs, answered row by row. */
import { resolve } from 'node:path';
import type { AnswerFile } from '../../contract/entities.ts';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { text, type Command, type Context } from '../command.ts';
import { count, listed } from '../format.ts';
import { SAMPLING_HELP, SAMPLING_OPTIONS, samplingOf } from '../sampling.ts';
import { waitForJob } from '../wait.ts';

const progress = ({ done, rows }: AnswerFile): string => `${count(done)} of ${count(rows)} rows`;

/** Waits, and says what is there, however it ended. @throws what it failed with; CANCELLED with how to go on. */
async function follow(context: Context, begun: AnswerFile): Promise<void> {
  const { id, job } = begun;
  const failure = await waitForJob(context, job!).then(
    () => null,
    (error: unknown) => toFettleError(error),
  );
  const ended = await context.client.call('answers.show', { answers: id });
  if (failure)
    throw new FettleError(
      failure.code,
      `${failure.code === 'CANCELLED' ? 'It was cancelled.' : failure.message} ${progress(ended)} are answered${ended.done > 0 ? `, in ${ended.out}` : ''}.`,
      `fettle answer resume ${id}`,
    );
  context.result(ended);
  const notes = [
    ...(ended.empty > 0 ? [`${count(ended.empty)} asked nothing`] : []),
    ...(ended.failed > 0 ? [`${count(ended.failed)} could not be answered`] : []),
  ];
  context.say(
    `${progress(ended)} are answered, in column "${ended.answerColumn}" of ${ended.out}.${notes.length > 0 ? ` ${notes.join(', ')}: column "${ended.answerColumn}_note" says why.` : ''}`,
  );
}

export const answerCommands: readonly Command[] = [
  {
    name: 'answer',
    usage: 'RUN|MODEL FILE [--out FILE] [--column NAME] [--system TEXT] [--max-tokens N] [--temperature X] [--force]',
    summary: 'Answer each row of a file',
    args: [2, 2],
    options: {
      out: { type: 'string' },
      column: { type: 'string' },
      system: { type: 'string' },
      project: { type: 'string' },
      force: { type: 'boolean' },
      ...SAMPLING_OPTIONS,
    },
    help: `FILE is JSONL, JSON, CSV, TSV or Parquet; the same rows come out with the answers, as JSONL, CSV or TSV by the name of --out. In a table, a text that a spreadsheet would take for a formula has an apostrophe before it; JSONL keeps every text as it is. Ctrl-C keeps what was answered; \`fettle answer resume\` goes on. ${SAMPLING_HELP}`,
    async run(context) {
      const [target = '', input = ''] = context.args;
      const [out, column, project] = [text(context, 'out'), text(context, 'column'), text(context, 'project')];
      const begun = await context.client.call('answers.start', {
        target,
        input: resolve(input),
        ...(out === undefined ? {} : { out: resolve(out) }),
        ...(column === undefined ? {} : { column }),
        ...(project === undefined ? {} : { project }),
        system: text(context, 'system') ?? '',
        force: context.options['force'] === true,
        sampling: samplingOf(context),
      });
      await follow(context, begun);
    },
  },
  {
    name: 'answer list',
    usage: '[PROJECT]',
    summary: 'The files that were answered',
    args: [0, 1],
    async run(context) {
      const [project] = context.args;
      const files = await context.client.call('answers.list', project === undefined ? {} : { project });
      context.result(files);
      context.say(
        listed(
          files,
          'None yet. `fettle answer RUN FILE` answers one.',
          ['answers', 'state', 'rows', 'model', 'written to'],
          (file) => [file.id, file.state, progress(file), file.target, file.out],
        ),
      );
    },
  },
  {
    name: 'answer resume',
    usage: 'ANSWERS',
    summary: 'Go on with a file that was cancelled or interrupted',
    args: [1, 1],
    async run(context) {
      await follow(context, await context.client.call('answers.resume', { answers: context.args[0]! }));
    },
  },
];
