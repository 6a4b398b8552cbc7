/** @file The sample project: a small shop's replies and its handbook, ready to be tuned on. */
import { fileURLToPath } from 'node:url';
import type { Handlers } from '../core/router.ts';
import type { Projects } from '../projects/index.ts';
import type { Datasets } from './index.ts';

/** Packaged apps set FETTLE_RESOURCES; in the repository it lies at the top. */
const resource = (name: string): string =>
  `${process.env.FETTLE_RESOURCES ?? fileURLToPath(new URL('../../resources', import.meta.url))}/sample/${name}`;

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
            paths: [resource('handbook')],
            name: 'Handbook',
            kind: 'prose',
          });
        if (!have.has('Replies'))
          await datasets.import({
            project: project.slug,
            paths: [resource('replies.jsonl')],
            name: 'Replies',
            kind: 'instruction',
          });
        return projects.show(project.slug);
      },
    },
  };
}
