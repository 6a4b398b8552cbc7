/** @file fettle compare list, compare show, export list, export show, export delete: what was measured and handed over before, looked at again. */
import type { ComparisonResult } from '../../contract/entities.ts';
import type { Command, Context } from '../command.ts';
import { bytes, listed, wrap } from '../format.ts';
import { describeAll, describeExport } from './judge.ts';
import { confirmed } from './talk.ts';

export const keptCommands: readonly Command[] = [
  {
    name: 'compare list',
    usage: 'PROJECT',
    summary: 'What was measured in a project, newest first',
    args: [1, 1],
    async run(context) {
      const comparisons = await context.client.call('evaluation.list', { project: context.args[0]! });
      context.result(comparisons);
      context.say(
        listed(
          comparisons,
          'Nothing was measured yet. `fettle compare A B` measures models against each other.',
          ['comparison', 'state', 'made', 'of'],
          ({ id, state, createdAt, labels }) => [
            id,
            state,
            createdAt.slice(0, 16).replace('T', ' '),
            labels.join(', '),
          ],
        ),
      );
    },
  },
  {
    name: 'compare show',
    usage: 'COMPARISON [--items]',
    summary: 'A comparison that was kept: verdict, scorecard, samples',
    args: [1, 1],
    options: { items: { type: 'boolean' } },
    help: '--items prints every question with all answers and how each was judged; --json holds them in any case.',
    async run(context) {
      const comparison = await context.client.call('evaluation.show', { comparison: context.args[0]! });
      const { id, state, error, result } = comparison;
      context.result(comparison);
      if (!result) return context.say(wrap(`${id} is ${state}${error ? `: ${error.message}` : ''}.`));
      const items = context.options['items'] === true;
      describeAll(context, comparison, !items);
      if (items) describeItems(context, result);
    },
  },
  {
    name: 'export list',
    usage: 'PROJECT',
    summary: 'What was exported from a project',
    args: [1, 1],
    async run(context) {
      const exports = await context.client.call('exports.list', { project: context.args[0]! });
      context.result(exports);
      context.say(
        listed(
          exports,
          'Nothing was exported yet. `fettle export RUN` hands a run over.',
          ['export', 'run', 'checkpoint', 'format', 'type', 'state', 'size', 'folder'],
          (each) => [
            each.id,
            each.run,
            each.checkpoint,
            each.format,
            each.dtype,
            each.state,
            each.bytes > 0 ? bytes(each.bytes) : '–',
            each.folder,
          ],
        ),
      );
    },
  },
  {
    name: 'export show',
    usage: 'EXPORT',
    summary: 'An export made before: its proof, and how other programs run it',
    args: [1, 1],
    async run(context) {
      const made = await context.client.call('exports.show', { export: context.args[0]! });
      context.result(made);
      const { id, state, error, proof, howTo } = made;
      if (state !== 'completed')
        context.say(wrap(`${id} is ${state}${error ? `: ${error.message} ${error.hint ?? ''}` : '.'}`.trimEnd()));
      if (state === 'completed' || proof) describeExport(context, made);
      for (const { client, lines } of howTo.slice(1)) context.say(`\n  ${client}:\n${lines.replaceAll(/^/gm, '    ')}`);
    },
  },
  {
    name: 'export delete',
    usage: 'EXPORT --yes',
    summary: 'Delete an export; a folder that was named with --out stays',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [id = ''] = context.args;
      const { named, folder, state } = await context.client.call('exports.show', { export: id });
      confirmed(context, id);
      context.result(await context.client.call('exports.delete', { export: id }));
      context.say(`${id} is deleted.${named && state === 'completed' ? ` Its files stay in ${folder}.` : ''}`);
    },
  },
];

/** Every question of the task, then of each skill; where the task was not judged, its questions as they were answered. */
function describeItems({ say }: Context, { models, samples, scorecard }: ComparisonResult): void {
  const judged = [
    ...(scorecard?.goal ? [{ title: 'Your task', items: scorecard.goal.items }] : []),
    ...(scorecard?.skills ?? []).map(({ skill, items }) => ({ title: skill.replaceAll('-', ' '), items })),
  ];
  const told = (prompt: string, expected: string, answers: readonly { text: string; how: string }[]): void => {
    say(`\n${wrap(prompt, '  > ')}\n  Expected:\n${wrap(expected, '    ')}`);
    for (const [i, { text, how }] of answers.entries()) say(`  ${models[i]!.label}${how}:\n${wrap(text, '    ')}`);
  };
  for (const { title, items } of judged) {
    say(`\n${title} (${items.length})`);
    for (const { prompt, expected, answers } of items)
      told(
        prompt,
        expected,
        answers.map(({ text, score, why }) => ({ text, how: ` (${Math.round(100 * score)}%, ${why})` })),
      );
  }
  if (!scorecard?.goal)
    for (const { prompt, expected, answers } of samples)
      told(
        prompt,
        expected,
        answers.map(({ text }) => ({ text, how: '' })),
      );
}
