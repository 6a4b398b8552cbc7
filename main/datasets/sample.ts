/** @file The sample project: a small shop's replies and its handbook, ready to be tuned on. */
import type { Handlers } from '../core/router.ts';
import { resource } from '../core/resources.ts';
import type { Projects } from '../projects/index.ts';
import type { Datasets } from './index.ts';

export function createSample({ projects, datasets }: { readonly projects: Projects; readonly datasets: Datasets }): {
  readonly handlers: Handlers<'projects.sample'>;
} {
  return {
    handlers: {
      'projects.sample': async () => {
        const project =
          projects.sample() ??
          projects.create({
            name: 'Bicycle replies',
            goal: 'Answer riders in the style of the Brook & Bell workshop',
            sample: true,
          });
        const have = new Set(datasets.list(project.slug).map((dataset) => dataset.name));
        if (!have.has('Handbook'))
          await datasets.import({
            project: project.slug,
            paths: [resource('sample', 'handbook')],
            name: 'Handbook',
            kind: 'prose',
          });
        if (!have.has('Replies'))
          await datasets.import({
            project: project.slug,
            paths: [resource('sample', 'replies.jsonl')],
            name: 'Replies',
            kind: 'instruction',
          });
        return projects.show(project.slug);
      },
    },
  };
}
