/** @file What every feature is given. Nothing ambient: paths, clock, log, events, jobs and child processes come from here. */
import type Database from 'better-sqlite3';
import type { ChangedEvent, EventOf, Topic } from '../contract/api.ts';
import type { ErrorCode, ErrorShape } from '../contract/errors.ts';
import type { Job, JobKind } from '../contract/entities.ts';

export type Db = Database.Database;

/** Folders below FETTLE_HOME. Every folder named here exists. */
export interface Home {
  readonly root: string;
  readonly models: string;
  /** What was made of models once, and can be made again. */
  readonly prepared: string;
  readonly projects: string;
  readonly temporary: string;
  readonly logs: string;
  project(slug: string): string;
  run(project: string, run: string): string;
}

export interface Clock {
  /** ISO 8601, UTC. */
  now(): string;
  /** Milliseconds, monotonic. */
  ticks(): number;
}

export interface Log {
  info(message: string, details?: Readonly<Record<string, unknown>>): void;
  warn(message: string, details?: Readonly<Record<string, unknown>>): void;
  error(message: string, details?: Readonly<Record<string, unknown>>): void;
}

/** Numbered events per topic; `run:` topics are numbered by the database, so that numbers outlive the host. */
export interface Events {
  publish<T extends Topic>(topic: T, event: EventOf<T>): number;
  changed(what: ChangedEvent['what'], id: string, project: string | null): void;
  /** First what was missed after number `after`, then what comes. */
  subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void): () => void;
}

export type Ask = 'pause' | 'stop' | 'cancel';
export type WorkerEntry =
  | 'train'
  | 'generate'
  | 'model'
  | 'data'
  | 'compare'
  | 'export'
  | 'adapter'
  | 'measure'
  | 'pilot'
  | 'curve'
  | 'answer'
  | 'speeds'
  | 'devices';

/** A child process at work. */
export interface WorkerHandle<Result> {
  /** Asks it to end in one of three ways; after a grace period the host kills it. Pause and stop wait longer than cancel. */
  ask(ask: Ask): void;
  /** Anything else the entry understands, such as the next prompt for a loaded model. */
  send(message: unknown): void;
  kill(): void;
  /** The end of what it wrote to its error output so far. */
  errors(): string;
  /** Rejects with FettleError: what the child reported, or WORKER_CRASHED with the end of its stderr. */
  readonly result: Promise<Result>;
  /** Resolves once the process is no more, however it ended: then nothing is written any more. */
  readonly gone: Promise<void>;
  readonly pid: number | undefined;
}
export interface Workers {
  /** Starts an entry of main/workers/ with a job description (JSON). Events arrive in order. */
  run<Event, Result>(entry: WorkerEntry, job: unknown, onEvent: (event: Event) => void): WorkerHandle<Result>;
}

export interface JobUpdate {
  readonly state?: Job['state'];
  readonly stage?: string;
  readonly progress?: number | null;
  readonly secondsLeft?: number | null;
  readonly error?: ErrorShape | null;
}
export interface JobControl {
  readonly job: Job;
  /** Writes the row and tells topic `jobs`. */
  update(update: JobUpdate): void;
  /** Called when somebody asks this job to pause, stop or be cancelled; at once if it was asked already. */
  onAsk(listener: (ask: Ask) => void): void;
}
/** Ends with the state that the job ended in; a rejection ends it as failed (or interrupted, for INTERRUPTED). */
export type JobHandler = (control: JobControl) => Promise<'completed' | 'paused' | 'cancelled'>;

/** One queue; a job that needs a model and one that works on data run at a time; the row in the database is the truth. 'generate' jobs do not wait in it. */
export interface Jobs {
  handle(kind: JobKind, handler: JobHandler): void;
  enqueue(job: {
    readonly kind: JobKind;
    readonly project: string | null;
    readonly subject: string;
    readonly title: string;
  }): Job;
  ask(id: string, ask: Ask): Job;
  /** The newest job about a subject. */
  of(kind: JobKind, subject: string): Job | undefined;
  list(options?: { readonly active?: boolean }): Job[];
  show(id: string): Job;
  /** Resolves when the job has left the active states. */
  settled(id: string): Promise<Job>;
}

/** What a job reads while it works: by its name, a version of data by `<project>/<id>`. */
export type Thing = `${'run' | 'model' | 'dataset'}:${string}`;
/** Somebody at work, in words, and what they read. */
export interface Work {
  readonly title: string;
  readonly reads: readonly Thing[];
}
/** Asked before anything is deleted. */
export interface InUse {
  /** Tells of work that is no job with a row. */
  add(source: () => readonly Work[]): void;
  /** @param name of what is to be deleted, in words. @throws the code, naming who is at work on any of the things. */
  check(code: Extract<ErrorCode, `${string}_IN_USE`>, name: string, things: readonly Thing[]): void;
}

export interface Core {
  readonly home: Home;
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Events;
  readonly workers: Workers;
  readonly jobs: Jobs;
  readonly inUse: InUse;
  /** CPU threads that training and generation use. */
  readonly threads: number;
  readonly version: string;
  readonly host: 'electron' | 'web' | 'command';
}
