/** @file fettle project: create, list, show, delete. */
import { FettleError } from '../../contract/errors.ts';
import { text, type Command } from '../command.ts';
import { listed, table, wrap } from '../format.ts';

export const projectCommands: readonly Command[] = [
  {
    name: 'project create',
    usage: 'NAME [--goal TEXT]',
    summary: 'Make a project: one goal with its data, runs and exports',
    args: [1, 1],
    options: { goal: { type: 'string' } },
    async run(context) {
      const goal = text(context, 'goal');
      const project = await context.client.call('projects.create', {
        name: context.args[0]!,
        ...(goal === undefined ? {} : { goal }),
      });
      context.result(project);
      context.say(`${project.name} is there, as ${project.slug}. ${project.next}`);
    },
  },
  {
    name: 'project list',
    usage: '',
    summary: 'The projects in this home',
    args: [0, 0],
    async run(context) {
      const projects = await context.client.call('projects.list', {});
      context.result(projects);
      context.say(
        listed(
          projects,
          'No projects yet. `fettle project create NAME` makes one, `fettle demo` shows the whole way on a sample.',
          ['project', 'name', 'next'],
          ({ slug, name, next }) => [slug, name, next],
        ),
      );
    },
  },
  {
    name: 'project show',
    usage: 'PROJECT',
    summary: 'One project: how far it is, and what to do next',
    args: [1, 1],
    async run(context) {
      const project = await context.client.call('projects.show', { project: context.args[0]! });
      context.result(project);
      context.say(`${project.name} (${project.slug})`);
      if (project.goal) context.say(wrap(project.goal, '  '));
      context.say(table(project.path.map(({ id, state, note }) => [`  ${id}`, state, note])));
      context.say(`\n${project.next}`);
    },
  },
  {
    name: 'project delete',
    usage: 'PROJECT --yes',
    summary: 'Delete a project with its data, runs and exports',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [project = ''] = context.args;
      if (context.options['yes'] !== true)
        throw new FettleError(
          'CONFIRM_NEEDED',
          `Deleting ${project} removes its data, runs and exports from this home.`,
          'Add --yes if that is what you want.',
        );
      context.result(await context.client.call('projects.delete', { project }));
      context.say(`${project} is deleted.`);
    },
  },
];
