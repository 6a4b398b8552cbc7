/** @file fettle data: bring data in, look at what was recognised and dropped. */
import { resolve } from 'node:path';
import { DatasetKind, type Dataset } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { number, pairs, text, type Command, type Context } from '../command.ts';
import { count, table, wrap } from '../format.ts';

function describe({ say }: Context, dataset: Dataset): void {
  say(`${dataset.name} (${dataset.id}): ${dataset.kind}`);
  say(
    wrap(
      `${count(dataset.rows)} rows, ${count(dataset.trainRows)} to train on, ${count(dataset.heldOutRows)} held out; ${count(dataset.words)} words.`,
      '  ',
    ),
  );
  say(wrap(`Recognised as ${dataset.shape.name}. ${dataset.shape.evidence.join(' ')}`, '  '));
  for (const { reason, count: dropped, examples } of dataset.dropped) {
    const [first] = examples;
    say(
      wrap(
        `Dropped ${count(dropped)}: ${reason}${first ? ` (first in ${first.file}${first.line === null ? '' : `, line ${first.line}`})` : ''}.`,
        '  ',
      ),
    );
  }
  for (const file of dataset.files.filter((each) => each.error))
    say(wrap(`${file.name} was left out: ${file.error!.message}`, '  '));
}

export const dataCommands: readonly Command[] = [
  {
    name: 'data import',
    usage: 'PROJECT PATH... [--kind KIND] [--map response=answer]... [--name NAME] [--held-out 0.1]',
    summary: 'Bring in files or folders: examples (JSONL, JSON) or text',
    args: [2, 1000],
    options: {
      kind: { type: 'string' },
      map: { type: 'string', multiple: true },
      name: { type: 'string' },
      'held-out': { type: 'string' },
    },
    help: 'KIND is instruction, conversation or prose; it is recognised where it is left out.\n--map says which column means what, for example --map instruction=question --map response=answer.',
    async run(context) {
      const [project = '', ...paths] = context.args;
      const kind = DatasetKind.optional().safeParse(text(context, 'kind'));
      if (!kind.success) throw new FettleError('USAGE', `--kind is one of ${DatasetKind.options.join(', ')}.`);
      const map = Object.fromEntries(
        Object.entries(pairs(context, 'map')).map(([meaning, column]) => [meaning, String(column)]),
      );
      const name = text(context, 'name');
      const heldOut = number(context, 'held-out');
      const dataset = await context.client.call('datasets.import', {
        project,
        paths: paths.map((path) => resolve(path)),
        ...(kind.data ? { kind: kind.data } : {}),
        ...(Object.keys(map).length > 0 ? { map } : {}),
        ...(name === undefined ? {} : { name }),
        ...(heldOut === undefined ? {} : { heldOut }),
      });
      context.result(dataset);
      describe(context, dataset);
    },
  },
  {
    name: 'data list',
    usage: 'PROJECT',
    summary: 'The datasets of a project',
    args: [1, 1],
    async run(context) {
      const datasets = await context.client.call('datasets.list', { project: context.args[0]! });
      context.result(datasets);
      context.say(
        datasets.length === 0
          ? 'No data yet. `fettle data import PROJECT PATH` brings some in.'
          : table([
              ['dataset', 'name', 'kind', 'rows', 'held out'],
              ...datasets.map((d) => [d.id, d.name, d.kind, count(d.rows), count(d.heldOutRows)]),
            ]),
      );
    },
  },
  {
    name: 'data show',
    usage: 'PROJECT [DATASET] [--model MODEL]',
    summary: 'One dataset: counts, what was dropped, a row as the model sees it',
    args: [1, 2],
    options: { model: { type: 'string' } },
    async run(context) {
      const { client } = context;
      const [project = '', named] = context.args;
      const dataset = named
        ? await client.call('datasets.show', { project, dataset: named })
        : (await client.call('datasets.list', { project }))[0];
      if (!dataset)
        throw new FettleError(
          'DATASET_NOT_FOUND',
          'This project has no data yet.',
          '`fettle data import PROJECT PATH` brings some in.',
        );
      const model = text(context, 'model');
      const about = { project, dataset: dataset.id };
      const tokens = model === undefined ? null : await client.call('datasets.tokens', { ...about, model });
      const row = model === undefined ? null : await client.call('datasets.render', { ...about, model, index: 0 });
      context.result({ ...dataset, tokens, row });
      describe(context, dataset);
      if (tokens)
        context.say(
          wrap(
            `In tokens: ${count(tokens.tokens)} in all, ${count(tokens.labelled)} carry loss; a row has ${count(tokens.median)} (median), the longest ${count(tokens.longest)}.`,
            '  ',
          ),
        );
      if (row) {
        context.say('\nThe first row as the model sees it; what it learns stands in [brackets]:');
        let open = false;
        const shown = row.tokens.map(({ text: piece, loss }) => {
          const mark = loss === open ? '' : loss ? '[' : ']';
          open = loss;
          return mark + piece;
        });
        context.say(shown.join('') + (open ? ']' : ''));
      }
    },
  },
  {
    name: 'data delete',
    usage: 'PROJECT DATASET --yes',
    summary: 'Delete a dataset',
    args: [2, 2],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      if (context.options['yes'] !== true)
        throw new FettleError(
          'CONFIRM_NEEDED',
          `Deleting ${dataset} cannot be undone.`,
          'Add --yes if that is what you want.',
        );
      context.result(await context.client.call('datasets.delete', { project, dataset }));
      context.say(`${dataset} is deleted.`);
    },
  },
];
