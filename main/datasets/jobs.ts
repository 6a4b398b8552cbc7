/** @file Work on data in child processes: jobs that show how far they are and can be cancelled, and short questions that are answered at once. */
import type { Job, JobKind } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { DataEvent, DataJob, DataResults } from '../workers/data.ts';

type Task = keyof DataResults;
type Kind = Extract<JobKind, Task>;
type JobOf<T extends Task> = Extract<DataJob, { task: T }>;

interface Work<T extends Task> {
  readonly project: string;
  /** What it is about; while one job is about it, asking again gives that one. */
  readonly subject: string;
  readonly title: string;
  readonly job: JobOf<T>;
  /** Writes down what it gave. */
  readonly done: (result: DataResults[T], job: string) => void;
}
export interface DataJobs {
  start<T extends Kind>(kind: T, work: Work<T>): Job;
  now<T extends Task>(job: JobOf<T>): Promise<DataResults[T]>;
  /** Cancels what is done about a subject and what lies below it, and waits for its end: nothing writes there after. */
  end(subject: string): Promise<void>;
}

export function createDataJobs(core: Core): DataJobs {
  /** What a waiting job is to do, by its subject; a job that is found without it after a restart was interrupted. */
  const waiting = new Map<string, Work<Task>>();

  for (const kind of ['import', 'inspect', 'tokens', 'derive'] as const)
    core.jobs.handle(kind, async (control) => {
      const { subject, id } = control.job;
      const work = waiting.get(`${kind} ${subject}`);
      if (!work) throw new FettleError('INTERRUPTED', 'Fettle was closed before this was done.', 'Start it again.');
      let cancelled = false;
      const started = core.clock.ticks();
      try {
        control.update({ state: 'running' });
        const worker = core.workers.run<DataEvent, DataResults[Task]>('data', work.job, ({ stage, share }) => {
          const seconds = (core.clock.ticks() - started) / 1000;
          const secondsLeft = share > 0.02 ? (seconds / share) * (1 - share) : null;
          control.update({ stage, progress: Math.min(1, share), secondsLeft });
        });
        control.onAsk(() => {
          cancelled = true;
          worker.ask('cancel');
        });
        work.done(await worker.result, id);
        return 'completed';
      } catch (error) {
        if (cancelled) return 'cancelled';
        throw error;
      } finally {
        waiting.delete(`${kind} ${subject}`);
      }
    });

  return {
    start(kind, work) {
      const key = `${kind} ${work.subject}`;
      // One that was cancelled before it began is not waiting any more.
      const known = waiting.has(key) ? core.jobs.of(kind, work.subject) : undefined;
      if (known && known.finishedAt === null) return known;
      waiting.set(key, work as unknown as Work<Task>);
      return core.jobs.enqueue({ kind, project: work.project, subject: work.subject, title: work.title });
    },
    async end(subject) {
      const about = core.jobs
        .list({ active: true })
        .filter((job) => job.subject === subject || job.subject.startsWith(`${subject}/`));
      for (const { id } of about) core.jobs.ask(id, 'cancel');
      await Promise.all(about.map(({ id }) => core.jobs.settled(id)));
    },
    now: (job) => core.workers.run<never, DataResults[typeof job.task]>('data', job, () => undefined).result as never,
  };
}
