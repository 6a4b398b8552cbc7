/** @file Datasets: immutable versions of a project's rows and documents. The only writer of table dataset. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import type { ParsedInputOf } from '../contract/api.ts';
import { Quality, type Dataset, type Job, type VersionStep } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Strategy } from '../contract/recipe.ts';
import { trainsBy } from '../contract/trains.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import { createDataJobs } from './jobs.ts';
import type { DeriveRequest, Derived } from './derive.ts';
import { QUALITY_FILE } from './quality/inspect.ts';
import { droppedRows, rowsPage } from './pages.ts';
import { readRange, ROWS_FILE } from './rows.ts';
import { createDatasetTable } from './table.ts';
import { lengthsFile, readLengths, renderRow, tokenStats } from './tokens.ts';
import { changesInWords, cleaningInWords, importInWords, masksInWords } from './words.ts';

type Names =
  | 'preview'
  | 'import'
  | 'list'
  | 'show'
  | 'rows'
  | 'dropped'
  | 'quality'
  | 'clean'
  | 'edit'
  | 'mask'
  | 'chosen'
  | 'render'
  | 'tokens'
  | 'delete';
type ImportInput = Omit<ParsedInputOf<'datasets.import'>, 'heldOut'> & { readonly heldOut?: number };

export interface Datasets {
  readonly handlers: Handlers<`datasets.${Names}`>;
  /** Waits until the files are in. @throws what the job fails with. */
  import(request: ImportInput): Promise<Dataset[]>;
  list(project: string): Dataset[];
  /** The newest data that train by a strategy. */
  newest(project: string, strategy: Strategy): Dataset | undefined;
  show(project: string, id: string): Dataset;
  /** rows.jsonl of a version; `readRows` reads it. */
  rowsFile(project: string, id: string): string;
}

export function createDatasets(
  core: Core,
  { models, projects }: { readonly models: Models; readonly projects: Projects },
): Datasets {
  const table = createDatasetTable(core);
  const { show } = table;
  const folderOf = (project: string): string => join(core.home.project(project), 'datasets');
  const versionFolder = (project: string, id: string): string => join(folderOf(project), id);
  const rowsFile = (project: string, id: string): string => join(versionFolder(project, id), ROWS_FILE);
  const jobs = createDataJobs(core);
  /** What a job is about that reads a version and keeps what it found beside it. */
  const subjectOf = (project: string, id: string): string => `${project}/${id}`;

  const changed = (project: string, id: string): void => {
    core.events.changed('dataset', id, project);
    core.events.changed('project', project, project);
  };

  function bringIn(request: ImportInput): Job {
    const { project, kind, map, maps } = request;
    projects.show(project);
    const folder = folderOf(project);
    mkdirSync(folder, { recursive: true });
    const paths = request.paths.map((path) => resolve(path));
    const first = basename(paths[0]!, extname(paths[0]!));
    const name = request.name ?? (paths.length === 1 ? first : `${first} and ${paths.length - 1} more`);
    return jobs.start('import', {
      project,
      subject: randomUUID(),
      title: `Bringing in ${name}`,
      job: { task: 'import', request: { paths, kind, map, maps, heldOut: request.heldOut ?? 0.1, folder } },
      done(versions, job) {
        const many = versions.length > 1;
        for (const { id, hash, kind: of, ...facts } of versions) {
          const suffix = many
            ? ` (${of === 'prose' ? 'documents' : of === 'preference' ? 'preferences' : 'examples'})`
            : '';
          const steps = [step('import', importInWords(facts))];
          put(project, {
            id,
            hash,
            kind: of,
            name: name + suffix,
            parent: null,
            facts: { ...facts, steps, job },
          });
          changed(project, id);
          look(project, id);
        }
      },
    });
  }

  /** @throws INTERRUPTED where the same content was there already, and was deleted while the rest was written. */
  function put(project: string, version: Parameters<typeof table.put>[1]): void {
    if (!existsSync(rowsFile(project, version.id)))
      throw new FettleError(
        'INTERRUPTED',
        `${version.name} was there already, and was deleted in the same moment.`,
        'Do it again.',
      );
    table.put(project, version);
  }

  const step = (what: VersionStep['what'], words: string): VersionStep => ({ what, words, at: core.clock.now() });

  /** Looks a version through where nobody has yet. */
  function look(project: string, id: string): Job {
    const { name } = show(project, id);
    return jobs.start('inspect', {
      project,
      subject: subjectOf(project, id),
      title: `Looking through ${name}`,
      job: { task: 'inspect', rows: rowsFile(project, id) },
      done: () => changed(project, id),
    });
  }

  async function quality(project: string, id: string): Promise<{ quality: Quality | null; job: Job | null }> {
    show(project, id);
    const kept = await readFile(join(versionFolder(project, id), QUALITY_FILE), 'utf8').catch(() => null);
    return kept === null
      ? { quality: null, job: look(project, id) }
      : { quality: Quality.parse(JSON.parse(kept)), job: null };
  }

  const lengthsOf = (project: string, id: string, model: string): string =>
    lengthsFile(rowsFile(project, id), models.show(model).hash);

  function countTokens(project: string, id: string, model: string): Job {
    return jobs.start('tokens', {
      project,
      subject: `${subjectOf(project, id)}/${model}`,
      title: `Counting the tokens of ${show(project, id).name}`,
      job: {
        task: 'tokens',
        request: { rows: rowsFile(project, id), model: models.pathOf(model), file: lengthsOf(project, id, model) },
      },
      done: () => changed(project, id),
    });
  }

  function makeFrom(
    project: string,
    id: string,
    request: Omit<DeriveRequest, 'rows' | 'folder'>,
    what: VersionStep['what'],
    words: (made: Derived) => string,
    lengths: string | null = null,
  ): Job {
    const from = show(project, id);
    return jobs.start('derive', {
      project,
      // What it reads stands in its subject.
      subject: `${subjectOf(project, id)}/${randomUUID()}`,
      title: `Making a new version of ${from.name}`,
      job: { task: 'derive', request: { ...request, rows: rowsFile(project, id), folder: folderOf(project) }, lengths },
      done(made, job) {
        const { id: next, hash, left: _l, changed: _c, added: _a, masked: _m, ...facts } = made;
        put(project, {
          id: next,
          hash,
          kind: request.chosen ? 'instruction' : from.kind,
          name: from.name,
          parent: next === id ? from.parent : id,
          facts: {
            ...facts,
            files: from.files,
            shapes: from.shapes,
            removed: from.removed,
            steps: [...from.steps, step(what, words(made))],
            job,
          },
        });
        changed(project, next);
        look(project, next);
      },
    });
  }

  /** Tokens of each row. @throws INPUT_INVALID where nobody has counted yet. */
  async function countedLengths(project: string, dataset: string, model: string): Promise<Uint32Array> {
    const lengths = await readLengths(lengthsOf(project, dataset, model));
    if (lengths) return lengths.tokens;
    throw new FettleError(
      'INPUT_INVALID',
      'The tokens of this version were not counted yet.',
      'Wait until they are, then ask again.',
    );
  }

  return {
    async import(request) {
      const job = await core.jobs.settled(bringIn(request).id);
      if (job.error) throw FettleError.fromInfo(job.error);
      if (job.state !== 'completed') throw new FettleError('CANCELLED', 'Bringing data in was cancelled.');
      return table.list(request.project).filter((dataset) => dataset.job === job.id);
    },
    show,
    rowsFile,
    list: table.list,
    newest: (project, strategy) => table.list(project).find(({ kind }) => trainsBy(kind) === strategy),
    handlers: {
      'datasets.preview': ({ paths, map, maps }) =>
        jobs.now({
          task: 'preview',
          request: { paths: paths.map((path) => resolve(path)), map, maps, temporary: core.home.temporary },
        }),
      'datasets.import': bringIn,
      'datasets.list': ({ project }) => (projects.show(project), table.list(project)),
      'datasets.show': ({ project, dataset }) => show(project, dataset),
      'datasets.rows': async ({ project, dataset, ...page }) => {
        show(project, dataset);
        const { longerThan } = page;
        const lengths = longerThan ? await countedLengths(project, dataset, longerThan.model) : null;
        return rowsPage(rowsFile(project, dataset), page, lengths);
      },
      'datasets.dropped': ({ project, dataset, ...page }) => {
        show(project, dataset);
        return droppedRows(versionFolder(project, dataset), page);
      },
      'datasets.quality': ({ project, dataset }) => quality(project, dataset),
      'datasets.clean': async ({ project, dataset, drop, longerThan }) => {
        if (longerThan) await countedLengths(project, dataset, longerThan.model);
        const lengths = longerThan ? lengthsOf(project, dataset, longerThan.model) : null;
        const request = { drop, ...(longerThan ? { longerThan: longerThan.tokens } : {}) };
        return makeFrom(project, dataset, request, 'clean', (made) => cleaningInWords(made, drop, longerThan), lengths);
      },
      'datasets.edit': ({ project, dataset, changes, add }) =>
        makeFrom(project, dataset, { changes, add }, 'edit', changesInWords),
      'datasets.mask': ({ project, dataset, kinds }) =>
        makeFrom(project, dataset, { mask: kinds }, 'mask', (made) => masksInWords(made, kinds)),
      'datasets.chosen': ({ project, dataset }) => {
        if (show(project, dataset).kind !== 'preference')
          throw new FettleError(
            'INPUT_INVALID',
            'This version holds no preferences.',
            'Its rows can be used as they are.',
          );
        return makeFrom(project, dataset, { chosen: true }, 'chosen', () => 'The chosen answers were taken as pairs.');
      },
      'datasets.render': async ({ project, dataset, model, index, content, maxLength }) => {
        show(project, dataset);
        const text = await models.text(model);
        if (content) return renderRow(content, text, maxLength);
        const [found] = await readRange(rowsFile(project, dataset), index, 1);
        if (found) return renderRow(found.row, text, maxLength);
        throw new FettleError('INPUT_INVALID', `There is no row ${index} in this dataset.`, 'Rows are counted from 0.');
      },
      'datasets.tokens': async ({ project, dataset, model, maxLength }) => {
        const { kind } = show(project, dataset);
        const lengths = await readLengths(lengthsOf(project, dataset, model));
        return lengths
          ? { stats: tokenStats(lengths, maxLength, kind !== 'prose'), job: null }
          : { stats: null, job: countTokens(project, dataset, model) };
      },
      'datasets.delete': async ({ project, dataset }) => {
        const { name } = show(project, dataset);
        core.inUse.check('DATASET_IN_USE', name, [`dataset:${project}/${dataset}`]);
        table.remove(project, dataset);
        changed(project, dataset);
        await jobs.end(subjectOf(project, dataset));
        // The same content may have come in again meanwhile.
        if (table.has(project, dataset)) return { ok: true };
        // At once: what comes in from now on finds nothing there, and writes its own.
        const leaving = join(core.home.temporary, `deleted-${randomUUID()}`);
        if (existsSync(versionFolder(project, dataset))) renameSync(versionFolder(project, dataset), leaving);
        await rm(leaving, { recursive: true, force: true });
        return { ok: true };
      },
    },
  };
}
