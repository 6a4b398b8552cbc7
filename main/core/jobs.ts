/** @file The queue of jobs. The row in the database is the truth; one job of each lane works at a time. */
import { randomUUID } from 'node:crypto';
import { Job, type ErrorInfo, type JobKind } from '../contract/entities.ts';
import { FettleError, toFettleError, type ErrorShape } from '../contract/errors.ts';
import { ACTIVE_STATES, isActive, type JobState } from '../contract/training.ts';
import type { Ask, Clock, Db, Events, JobControl, JobHandler, Jobs, JobUpdate, Log } from './context.ts';

const ACTIVE_SQL = ACTIVE_STATES.map((state) => `'${state}'`).join(', ');
/** What a job is while it does what it was asked. */
const ASKED: Readonly<Record<Ask, JobState>> = { pause: 'pausing', stop: 'stopping', cancel: 'stopping' };

interface Row {
  id: string;
  kind: string;
  project: string | null;
  subject: string;
  title: string;
  state: string;
  stage: string;
  progress: number | null;
  seconds_left: number | null;
  error: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
}

export interface OwnedJobs extends Jobs {
  /** Begins with what waits; handlers must be there. */
  start(): void;
  /** Asks what works to end and waits for it; nothing new begins. */
  close(): Promise<void>;
}

/** Data and adapters come in beside a training that takes hours; in each lane one job works at a time. */
const laneOf = (kind: JobKind): 'data' | 'model' =>
  ['import', 'inspect', 'tokens', 'derive', 'adapter'].includes(kind) ? 'data' : 'model';

interface Working {
  readonly lane: ReturnType<typeof laneOf>;
  readonly listeners: ((ask: Ask) => void)[];
  ask: Ask | null;
  readonly done: Promise<void>;
}

export function createJobs({
  db,
  clock,
  events,
  log,
}: {
  readonly db: Db;
  readonly clock: Clock;
  readonly events: Events;
  readonly log: Log;
}): OwnedJobs {
  const handlers = new Map<JobKind, JobHandler>();
  const working = new Map<string, Working>();
  const waiters = new Map<string, ((job: Job) => void)[]>();
  let open = false;

  const byId = db.prepare<[string], Row>('SELECT * FROM job WHERE id = ?');
  const queued = db.prepare<[], Row>("SELECT * FROM job WHERE state = 'queued' ORDER BY created_at, rowid");
  const newest = db.prepare<[string, string], Row>(
    'SELECT * FROM job WHERE kind = ? AND subject = ? ORDER BY rowid DESC LIMIT 1',
  );

  const view = (row: Row): Job =>
    Job.parse({
      id: row.id,
      kind: row.kind,
      project: row.project,
      subject: row.subject,
      title: row.title,
      state: row.state,
      stage: row.stage,
      progress: row.progress,
      secondsLeft: row.seconds_left,
      error: row.error === null ? null : JSON.parse(row.error),
      createdAt: row.created_at,
      startedAt: row.started_at,
      finishedAt: row.finished_at,
    });
  const show = (id: string): Job => {
    const row = byId.get(id);
    if (!row)
      throw new FettleError(
        'INPUT_INVALID',
        `There is no job named ${JSON.stringify(id)}.`,
        '`fettle jobs` shows those there are.',
      );
    return view(row);
  };

  function write(id: string, { state, stage, progress, secondsLeft, error }: JobUpdate): Job {
    const before = show(id);
    const next = state ?? before.state;
    const over = !isActive(next);
    db.prepare(
      'UPDATE job SET state = ?, stage = ?, progress = ?, seconds_left = ?, error = ?, started_at = ?, finished_at = ? WHERE id = ?',
    ).run(
      next,
      stage ?? before.stage,
      progress === undefined ? before.progress : progress,
      over ? null : secondsLeft === undefined ? before.secondsLeft : secondsLeft,
      JSON.stringify(error === undefined ? before.error : error && publicError(error)),
      before.startedAt ?? (next === 'queued' ? null : clock.now()),
      over ? clock.now() : null,
      id,
    );
    const job = show(id);
    events.publish('jobs', { type: 'job', job });
    if (over) wake(job);
    return job;
  }

  function wake(job: Job): void {
    const waiting = waiters.get(job.id) ?? [];
    waiters.delete(job.id);
    for (const resolve of waiting) resolve(job);
  }

  /** Starts what waits, where nothing works in its lane. */
  function advance(): void {
    if (!open) return;
    for (const row of queued.all()) {
      const job = view(row);
      if (![...working.values()].some((entry) => entry.lane === laneOf(job.kind))) begin(job);
    }
  }

  function begin(job: Job): void {
    const listeners: ((ask: Ask) => void)[] = [];
    let finish = (): void => undefined;
    const entry: Working = {
      lane: laneOf(job.kind),
      listeners,
      ask: null,
      done: new Promise((resolve) => (finish = resolve)),
    };
    working.set(job.id, entry);
    void work(job, entry).finally(() => {
      working.delete(job.id);
      finish();
      advance();
    });
  }

  async function work(job: Job, entry: Working): Promise<void> {
    try {
      const state = await handle(job, entry);
      write(job.id, { state, ...(state === 'completed' ? { progress: 1, stage: 'Done' } : {}) });
    } catch (error) {
      const known = toFettleError(error);
      if (known.code === 'INTERNAL')
        log.error(`${job.title} failed`, {
          message: known.message,
          stack: error instanceof Error ? error.stack : undefined,
        });
      const state = entry.ask === 'cancel' ? 'cancelled' : known.code === 'INTERRUPTED' ? 'interrupted' : 'failed';
      const end = { state, error: known.toShape() } as const;
      try {
        write(job.id, end);
      } catch (full) {
        // Not even its end can be written down: the next start will find it at work and call it interrupted.
        log.error(`${job.title}: its end could not be kept`, { message: toFettleError(full).message });
        wake({ ...job, ...end, error: publicError(end.error) });
      }
    }
  }

  async function handle(job: Job, entry: Working): Promise<'completed' | 'paused' | 'cancelled'> {
    const control: JobControl = {
      job: write(job.id, { state: 'starting' }),
      update: (update) => {
        // What was asked for stands until it is done.
        const { state, ...rest } = update;
        write(job.id, entry.ask === null || state === undefined ? update : rest);
      },
      onAsk: (listener) => {
        entry.listeners.push(listener);
        if (entry.ask) listener(entry.ask);
      },
    };
    const handler = handlers.get(job.kind);
    if (!handler) throw new FettleError('INTERNAL', `Nothing handles jobs of kind ${job.kind}.`);
    return handler(control);
  }

  function ask(id: string, what: Ask): Job {
    const job = show(id);
    const entry = working.get(id);
    if (entry) {
      // Cancelling overrules stopping, stopping overrules pausing.
      if (entry.ask !== 'cancel' && !(entry.ask === 'stop' && what === 'pause')) {
        entry.ask = what;
        write(id, { state: ASKED[what] });
        for (const listener of entry.listeners) listener(what);
      }
      return show(id);
    }
    if (job.state === 'queued') return write(id, { state: what === 'pause' ? 'paused' : 'cancelled' });
    if (what !== 'pause' && (job.state === 'paused' || job.state === 'interrupted'))
      return write(id, { state: what === 'stop' ? 'completed' : 'cancelled' });
    return job;
  }

  // Whatever a row still calls at work was interrupted: only this host could be doing it.
  const orphans = db.prepare<[], Row>(`SELECT * FROM job WHERE state IN (${ACTIVE_SQL})`).all();
  for (const orphan of orphans) {
    write(orphan.id, { state: 'interrupted' });
    if (orphan.kind === 'train' && db.prepare('SELECT 1 FROM run WHERE id = ?').get(orphan.subject))
      events.publish(`run:${orphan.subject}`, { type: 'state', state: 'interrupted' });
  }

  return {
    handle: (kind, handler) => void handlers.set(kind, handler),
    enqueue({ kind, project, subject, title }) {
      const id = randomUUID();
      db.prepare(
        'INSERT INTO job (id, kind, project, subject, title, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ).run(id, kind, project, subject, title, 'queued', clock.now());
      const job = show(id);
      events.publish('jobs', { type: 'job', job });
      // After this turn, so that who enqueued it can write down what belongs to it.
      setImmediate(advance);
      return job;
    },
    ask,
    of: (kind, subject) => {
      const row = newest.get(kind, subject);
      return row && view(row);
    },
    list: ({ active = false } = {}) =>
      db
        .prepare<[], Row>(
          `SELECT * FROM job ${active ? `WHERE state IN (${ACTIVE_SQL})` : ''} ORDER BY created_at DESC, rowid DESC LIMIT 500`,
        )
        .all()
        .map(view),
    show,
    settled: (id) => {
      const job = show(id);
      if (!isActive(job.state)) return Promise.resolve(job);
      return new Promise((resolve) => waiters.set(id, [...(waiters.get(id) ?? []), resolve]));
    },
    start() {
      open = true;
      advance();
    },
    async close() {
      open = false;
      const ends = [...working].map(([id, entry]) => {
        // A run keeps what it learned; everything else begins anew.
        ask(id, show(id).kind === 'train' ? 'pause' : 'cancel');
        return entry.done;
      });
      await Promise.all(ends);
    },
  };
}

const publicError = ({ code, message, hint }: ErrorShape | ErrorInfo): ErrorInfo => ({
  code,
  message,
  ...(hint ? { hint } : {}),
});
