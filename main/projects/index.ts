/** @file Projects: create, list, show, change, delete. The only writer of table project. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { FettleError } from '../contract/errors.ts';
import { choiceFrom, type Project } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { derivePath, type PathFacts } from './path.ts';

interface Row {
  slug: string;
  name: string;
  goal: string;
  sample: number;
  model: string | null;
  created_at: string;
  updated_at: string;
}

type Names = 'projects.create' | 'projects.list' | 'projects.show' | 'projects.update' | 'projects.delete';

export interface Projects {
  readonly handlers: Handlers<Names>;
  show(slug: string): Project;
  /** Creates the project row and its folders; the slug is derived from the name and made unique. */
  create(request: { readonly name: string; readonly goal: string; readonly sample?: boolean }): Project;
  /** The sample project, where there is one. */
  sample(): Project | undefined;
  setModel(slug: string, model: string): void;
}

/** The number of questions of the strategy guide is the guide's to say. */
export function createProjects(core: Core, guide: { readonly questions: number }): Projects {
  const { db } = core;
  const select = db.prepare<[string], Row>('SELECT * FROM project WHERE slug = ?');
  const all = db.prepare<[], Row>('SELECT * FROM project ORDER BY updated_at DESC, slug');

  const row = (slug: string): Row => {
    const found = select.get(slug);
    if (!found)
      throw new FettleError(
        'PROJECT_NOT_FOUND',
        `There is no project named ${JSON.stringify(slug)}.`,
        '`fettle project list` shows those there are.',
      );
    return found;
  };
  const facts = readFacts(core, guide.questions);
  const chosen = db.prepare<[string], { strategy: string; reason: string; advised: string; at: string }>(
    'SELECT strategy, reason, advised, at FROM choice WHERE project = ?',
  );
  const view = (project: Row): Project => {
    const kept = chosen.get(project.slug);
    const choice = kept ? choiceFrom(kept) : null;
    return {
      slug: project.slug,
      name: project.name,
      goal: project.goal,
      createdAt: project.created_at,
      updatedAt: project.updated_at,
      model: project.model,
      choice,
      ...derivePath(facts(project.slug, project.model, choice?.strategy ?? null)),
    };
  };
  const show = (slug: string): Project => view(row(slug));

  const create: Projects['create'] = ({ name, goal, sample = false }) => {
    const slug = freeSlug(
      name,
      (candidate) => select.get(candidate) !== undefined || existsSync(core.home.project(candidate)),
    );
    const now = core.clock.now();
    mkdirSync(core.home.project(slug), { recursive: true });
    db.prepare('INSERT INTO project (slug, name, goal, sample, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)').run(
      slug,
      name,
      goal,
      sample ? 1 : 0,
      now,
      now,
    );
    core.events.changed('project', slug, slug);
    return show(slug);
  };

  const update: Projects['handlers']['projects.update'] = (change) => {
    const before = row(change.project);
    db.prepare('UPDATE project SET name = ?, goal = ?, model = ?, updated_at = ? WHERE slug = ?').run(
      change.name ?? before.name,
      change.goal ?? before.goal,
      change.model === undefined ? before.model : change.model,
      core.clock.now(),
      change.project,
    );
    core.events.changed('project', change.project, change.project);
    return show(change.project);
  };

  const remove = (slug: string): void => {
    row(slug);
    const busy = core.jobs.list({ active: true }).find((job) => job.project === slug);
    if (busy)
      throw new FettleError(
        'PROJECT_IN_USE',
        `${busy.title} is still at work in this project.`,
        'Stop it first, then delete the project.',
      );
    const runs = db.prepare<[string], { id: string }>('SELECT id FROM run WHERE project = ?').all(slug);
    // Another project may compare them, or answer with them.
    core.inUse.check(
      'PROJECT_IN_USE',
      'a run of this project',
      runs.map(({ id }) => `run:${id}` as const),
    );
    // The row goes first: a folder without a row is only waste, a row without its folder would be a broken project.
    db.prepare('DELETE FROM project WHERE slug = ?').run(slug);
    rmSync(core.home.project(slug), { recursive: true, force: true });
    core.events.changed('project', slug, slug);
  };

  return {
    show,
    create,
    sample: () => {
      const found = db.prepare<[], Row>('SELECT * FROM project WHERE sample = 1 ORDER BY created_at LIMIT 1').get();
      return found && view(found);
    },
    setModel: (slug, model) => void update({ project: slug, model }),
    handlers: {
      'projects.create': create,
      'projects.list': () => all.all().map(view),
      'projects.show': ({ project }) => show(project),
      'projects.update': update,
      'projects.delete': ({ project }) => {
        remove(project);
        return { ok: true };
      },
    },
  };
}

/** Letters and digits of any script are kept where the file system is safe with them; the rest become hyphens. */
export function slugify(name: string): string {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);
  return plain || 'project';
}

export function freeSlug(name: string, taken: (slug: string) => boolean): string {
  const slug = slugify(name);
  if (!taken(slug)) return slug;
  for (let n = 2; ; n++) if (!taken(`${slug}-${n}`)) return `${slug}-${n}`;
}

function readFacts(
  core: Core,
  questions: number,
): (slug: string, model: string | null, choice: PathFacts['choice']) => PathFacts {
  const counts = core.db.prepare<
    { slug: string },
    {
      answers: number;
      pairs: number;
      documents: number;
      runs: number;
      finished: number;
      comparisons: number;
      exports: number;
    }
  >(`
    WITH newest AS (
      -- Versions that another was made from are the same data before it was changed.
      SELECT kind, facts FROM dataset AS one WHERE project = :slug
        AND NOT EXISTS (SELECT 1 FROM dataset WHERE project = :slug AND parent = one.id)
    )
    SELECT
      (SELECT count(*) FROM answer WHERE project = :slug) AS answers,
      (SELECT coalesce(sum(json_extract(facts, '$.rows')), 0) FROM newest WHERE kind IN ('instruction', 'conversation')) AS pairs,
      (SELECT coalesce(sum(json_extract(facts, '$.rows')), 0) FROM newest WHERE kind = 'prose') AS documents,
      (SELECT count(*) FROM run WHERE project = :slug) AS runs,
      (SELECT count(*) FROM run WHERE project = :slug AND (imported IS NOT NULL OR json_extract(result, '$.state') = 'completed')) AS finished,
      (SELECT count(*) FROM comparison WHERE project = :slug AND result IS NOT NULL) AS comparisons,
      -- Of one that failed, what its proof found is kept.
      (SELECT count(*) FROM export WHERE project = :slug AND json_extract(result, '$.failed') IS NULL AND result IS NOT NULL) AS exports
  `);
  const training = core.db.prepare<[string], { number: number; progress: number | null }>(`
    SELECT run.number, job.progress FROM job JOIN run ON run.id = job.subject
    WHERE job.kind = 'train' AND job.state IN ('starting', 'running', 'pausing', 'stopping') AND job.project = ?
    ORDER BY job.created_at DESC LIMIT 1
  `);
  const modelName = core.db.prepare<[string], { name: string }>('SELECT name FROM model WHERE id = ?');
  return (slug, model, choice) => {
    const found = counts.get({ slug })!;
    const running = training.get(slug);
    return {
      ...found,
      questions,
      choice,
      model: model === null ? null : (modelName.get(model)?.name ?? model),
      finishedRuns: found.finished,
      running: running ? { number: running.number, share: running.progress } : null,
    };
  };
}
