/** @file Files of inputs that are answered in the background, row by row: what was answered stays, and they can go on. The only writer of table answer_file. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, constants, rename, rm, stat, truncate } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import type { ParsedInputOf } from '../contract/api.ts';
import { Sampling, type AnswerFile } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core, JobControl } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { resolveTarget } from '../evaluation/targets.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import type { AnswerEvent, AnswerJob } from '../workers/answer.ts';
import type { Generation } from './generation.ts';
import { lookInto, moreColumn, whichColumn } from './inputs.ts';
import { besideInput, freeBeside, freeColumn, outputForm } from './outputs.ts';

type Names = 'look' | 'start' | 'resume' | 'list' | 'show';

/** What tells a file from one that came in its place or was edited. */
const Stamp = z.object({ size: z.number(), changedAt: z.number() });
type Stamp = z.infer<typeof Stamp>;

const Request = z.object({
  target: z.string(),
  label: z.string(),
  input: z.string(),
  /** Of the input when it was looked into: a file that changed meanwhile has other rows. */
  size: z.number(),
  changedAt: z.number(),
  out: z.string(),
  /** What is written while it is not whole: a name that nobody else has. Those that were begun without one had `<out>.part`. */
  partial: z.string().optional(),
  /** What lay at `out` when it was begun and may be written over: that file and no other. */
  replaces: Stamp.nullable().default(null),
  columns: z.array(z.string()),
  column: z.string(),
  more: z.string().nullable(),
  answerColumn: z.string(),
  noteColumn: z.string(),
  system: z.string(),
  sampling: Sampling,
  rows: z.int(),
});
type Request = z.infer<typeof Request>;
const Progress = z.object({ done: z.int(), empty: z.int(), failed: z.int(), bytes: z.int() });
type Progress = z.infer<typeof Progress>;
/** Of one that has ended: what it put down under the final name, to be known again when it goes on. */
const Kept = Progress.extend({ put: Stamp.nullable().default(null) });
type Kept = z.infer<typeof Kept>;
interface Row {
  readonly id: string;
  readonly project: string | null;
  readonly request: string;
  readonly progress: string;
  readonly created_at: string;
}

const partialOf = ({ out, partial }: Request): string => partial ?? `${out}.part`;
/** Null where there is nothing. */
const stampOf = (path: string): Promise<Stamp | null> =>
  stat(path).then(
    ({ size, mtimeMs }) => ({ size, changedAt: mtimeMs }),
    () => null,
  );
const same = (one: Stamp | null, other: Stamp | null): boolean =>
  one !== null && one.size === other?.size && one.changedAt === other.changedAt;

export function createAnswers(
  core: Core,
  parts: {
    readonly projects: Projects;
    readonly models: Models;
    readonly runs: Runs;
    readonly generation: Pick<Generation, 'makeRoom'>;
  },
): { handlers: Handlers<`answers.${Names}`> } {
  const { db } = core;
  const one = db.prepare<[string], Row>('SELECT * FROM answer_file WHERE id = ?');
  const keep = db.prepare('UPDATE answer_file SET progress = ? WHERE id = ?');
  /** Tokens a second of those at work. */
  const speeds = new Map<string, number>();

  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError(
        'INPUT_INVALID',
        `No file was answered under the name ${JSON.stringify(id)}.`,
        '`fettle answer list` shows those there are.',
      );
    return found;
  };
  const requestOf = (found: Row): Request => Request.parse(JSON.parse(found.request));
  const keptOf = (found: Row): Kept => Kept.parse(JSON.parse(found.progress));
  const view = (found: Row): AnswerFile => {
    const job = core.jobs.of('answer', found.id);
    const { target, label, input, out, column, answerColumn, system, sampling, rows } = requestOf(found);
    const { bytes: _b, put: _p, ...progress } = keptOf(found);
    return {
      id: found.id,
      project: found.project,
      ...{ target, label, input, out, column, answerColumn, system, sampling, rows },
      ...progress,
      state: job?.state ?? 'interrupted',
      job: job?.id ?? null,
      tokensPerSecond: speeds.get(found.id) ?? null,
      secondsLeft: job?.secondsLeft ?? null,
      error: job?.error ?? null,
      createdAt: found.created_at,
    };
  };
  const changed = (found: Pick<Row, 'id' | 'project'>): void => core.events.changed('answers', found.id, found.project);

  async function start(input: ParsedInputOf<'answers.start'>): Promise<AnswerFile> {
    const target = resolveTarget(parts, input.target);
    const project = input.project ?? target.run?.project ?? null;
    if (project !== null) parts.projects.show(project);
    const path = resolve(input.input);
    const found = await lookInto(path);
    const columns = found.columns.map(({ name }) => name);
    const column = input.column ?? found.column;
    if (column === null) throw whichColumn(found.name, found.columns);
    if (!columns.includes(column))
      throw new FettleError(
        'INPUT_INVALID',
        `${found.name} has no column named ${JSON.stringify(column)}.`,
        `It has ${columns.join(', ')}.`,
      );
    const out = resolve(input.out ?? besideInput(path));
    outputForm(out, columns);
    const replaces = await checkTarget(path, out, input.force);
    const { size, mtimeMs } = await stat(path);
    const answerColumn = freeColumn('answer', columns);
    const request: Request = {
      target: target.target,
      label: target.label,
      input: path,
      size,
      changedAt: mtimeMs,
      out,
      partial: `${out}.${randomUUID().slice(0, 8)}.part`,
      replaces,
      columns,
      column,
      more: moreColumn(column, columns),
      answerColumn,
      noteColumn: freeColumn(`${answerColumn}_note`, columns),
      system: input.system,
      sampling: input.sampling,
      rows: found.rows,
    };
    const number =
      db.prepare<[], { n: number }>('SELECT coalesce(max(number), 0) + 1 AS n FROM answer_file').get()?.n ?? 1;
    const id = `answers-${number}`;
    db.prepare(
      'INSERT INTO answer_file (id, number, project, request, progress, created_at) VALUES (?, ?, ?, ?, ?, ?)',
    ).run(id, number, project, JSON.stringify(request), JSON.stringify(NOTHING), core.clock.now());
    return queue(row(id));
  }

  function queue(found: Row): AnswerFile {
    const { input } = requestOf(found);
    core.jobs.enqueue({
      kind: 'answer',
      project: found.project,
      subject: found.id,
      title: `Answering ${basename(input)}`,
    });
    changed(found);
    return view(row(found.id));
  }

  /** @throws TARGET_EXISTS where another job is writing it */
  function checkIdle(out: string): void {
    const writing = core.jobs
      .list({ active: true })
      .some((job) => job.kind === 'answer' && requestOf(row(job.subject)).out === out);
    if (writing)
      throw new FettleError('TARGET_EXISTS', `${out} is being written already.`, 'Wait for it, or name another file.');
  }

  /**
   * @returns what is there and may be written over.
   * @throws TARGET_EXISTS, INPUT_INVALID, FILE_UNREADABLE, and where another job is writing it.
   */
  async function checkTarget(input: string, out: string, force: boolean): Promise<Stamp | null> {
    if (input === out)
      throw new FettleError('INPUT_INVALID', 'The answers would be written over the inputs.', 'Name another file.');
    const folder = dirname(out);
    const is = await stat(folder).catch(() => null);
    if (!is?.isDirectory())
      throw new FettleError('FILE_NOT_FOUND', `The folder ${folder} does not exist.`, 'Make it, or name another one.');
    await access(folder, constants.W_OK).catch((cause: unknown) => {
      throw new FettleError('FILE_UNREADABLE', `Nothing can be written to ${folder}.`, 'Choose another folder.', {
        cause,
      });
    });
    checkIdle(out);
    const there = await stat(out).catch(() => null);
    if (there && (!force || there.isDirectory()))
      throw new FettleError('TARGET_EXISTS', `${out} is there already.`, 'Name another file, or add --force.');
    return stampOf(out);
  }

  async function resume(id: string): Promise<AnswerFile> {
    const found = row(id);
    const { state } = view(found);
    if (!['cancelled', 'interrupted', 'failed'].includes(state))
      throw new FettleError('INPUT_INVALID', `${id} is ${state}, so there is nothing to go on with.`);
    const request = requestOf(found);
    const { input, out, size, changedAt, target } = request;
    resolveTarget(parts, target);
    checkIdle(out);
    if (!same(await stampOf(input), { size, changedAt }))
      throw new FettleError(
        'INPUT_INVALID',
        `${basename(input)} is not the file any more that was begun with.`,
        'Answer it anew, into another file.',
      );
    await whereIs(request, keptOf(found));
    return queue(found);
  }

  /**
   * Where the rows lie that were answered: a file that is not as it was put down is somebody's own by now.
   * @throws INPUT_INVALID where they were changed or removed
   */
  async function whereIs(request: Request, { done, bytes, put }: Kept): Promise<string> {
    const partial = partialOf(request);
    const unfinished = await stampOf(partial);
    if (bytes === 0 || (unfinished && unfinished.size >= bytes)) return partial;
    const there = unfinished ? null : await stampOf(request.out);
    if (same(there, put)) return request.out;
    throw new FettleError(
      'INPUT_INVALID',
      there
        ? `${request.out} was changed since ${done} answered rows were put there, so it is left as it is.`
        : `The ${done} rows that were answered are not at ${request.out} any more.`,
      'Answer the file anew, into another one.',
    );
  }
  /** What is written so far, to be gone on with under its unfinished name. */
  async function takeUp(request: Request, kept: Kept): Promise<Progress> {
    const at = await whereIs(request, kept);
    if (kept.bytes === 0) return NOTHING;
    if (at === request.out) await rename(at, partialOf(request));
    return Progress.parse(kept);
  }
  /** Whatever ended it, the rows that are known to be whole get their name; a file that came there meanwhile is left alone. */
  async function putDown(id: string, request: Request, progress: Progress): Promise<void> {
    const { out, replaces } = request;
    const partial = partialOf(request);
    const is = await stampOf(partial);
    if (!is) return;
    if (progress.done === 0) return rm(partial, { force: true });
    // Of a child that was killed, or that found the disk full, a piece of a row may lie behind them.
    if (is.size > progress.bytes) await truncate(partial, progress.bytes);
    const there = await stampOf(out);
    if (there && !same(there, replaces))
      throw new FettleError(
        'TARGET_EXISTS',
        `${out} came to be there meanwhile.`,
        `The answers lie beside it, in ${basename(partial)}.`,
      );
    // Kept before it has that name: a crash in between leaves it under the other one.
    keep.run(JSON.stringify({ ...progress, put: await stampOf(partial) }), id);
    await rename(partial, out);
  }

  async function work(control: JobControl): Promise<'completed' | 'cancelled'> {
    const found = row(control.job.subject);
    const request = requestOf(found);
    const target = resolveTarget(parts, request.target);
    await parts.generation.makeRoom([target.model]);
    let progress = await takeUp(request, keptOf(found));
    const job: AnswerJob = {
      model: target.modelPath,
      adapter: target.adapter,
      under: target.under,
      threads: core.threads,
      ...request,
      partial: partialOf(request),
      from: progress,
    };
    const began = progress.done;
    control.update({ state: 'running', stage: 'Loading', progress: began / request.rows });
    const heard = ({ tokens, seconds, ...next }: AnswerEvent): void => {
      progress = Progress.parse(next);
      keep.run(JSON.stringify(progress), found.id);
      if (seconds > 0) speeds.set(found.id, tokens / seconds);
      const fresh = progress.done - began;
      control.update({
        stage: stageOf(progress, request.rows, seconds > 0 ? tokens / seconds : 0),
        progress: Math.min(1, progress.done / request.rows),
        secondsLeft: fresh > 0 ? (seconds / fresh) * (request.rows - progress.done) : null,
      });
      changed(found);
    };
    let cancelled = false;
    const worker = core.workers.run<AnswerEvent, AnswerEvent>('answer', job, heard);
    control.onAsk(() => {
      cancelled = true;
      worker.ask('cancel');
    });
    void core.jobs.settled(control.job.id).then(() => changed(found));
    try {
      heard(await worker.result);
      return cancelled && progress.done < request.rows ? 'cancelled' : 'completed';
    } finally {
      speeds.delete(found.id);
      await putDown(found.id, request, progress);
    }
  }
  core.jobs.handle('answer', work);

  return {
    handlers: {
      'answers.look': async ({ path }) => ({
        ...(await lookInto(resolve(path))),
        out: freeBeside(resolve(path), existsSync),
      }),
      'answers.start': start,
      'answers.resume': ({ answers }) => resume(answers),
      'answers.list': ({ project }) => {
        if (project !== undefined) parts.projects.show(project);
        return db
          .prepare<[], Row>('SELECT * FROM answer_file ORDER BY number DESC')
          .all()
          .filter((each) => project === undefined || each.project === project)
          .map(view);
      },
      'answers.show': ({ answers }) => view(row(answers)),
    },
  };
}

const stageOf = ({ done, empty }: Progress, rows: number, speed: number): string =>
  [
    `${done.toLocaleString('en')} of ${rows.toLocaleString('en')} rows`,
    ...(empty > 0 ? [`${empty} empty`] : []),
    `${speed.toFixed(0)} tokens a second`,
  ].join(', ');

const NOTHING: Progress = { done: 0, empty: 0, failed: 0, bytes: 0 };
