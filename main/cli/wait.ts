/** @file Waits for a job while telling how it goes. */
import type { Client } from '../contract/api.ts';
import type { Job } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { JobState } from '../contract/training.ts';
import type { Context } from './command.ts';
import { createProgress } from './progress.ts';

const OVER: readonly JobState[] = ['completed', 'failed', 'cancelled', 'interrupted', 'paused'];

/**
 * Resolves when the job is over; Ctrl-C cancels it.
 * @throws what it failed with, CANCELLED, INTERRUPTED.
 */
export async function waitForJob({ client, signal, json }: Context, id: string): Promise<Job> {
  const progress = createProgress();
  const cancel = (): void => void client.call('jobs.cancel', { job: id }).catch(() => undefined);
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel);
  try {
    const job = await settled(client, id, (now) => {
      if (!json) progress.show(now.stage ? `${now.title}: ${now.stage}` : now.title, now.progress);
    });
    return finished(job);
  } finally {
    signal.removeEventListener('abort', cancel);
    progress.end();
  }
}

function settled(client: Client, id: string, onChange: (job: Job) => void): Promise<Job> {
  return new Promise((resolve, reject) => {
    let stop = (): void => undefined;
    const look = (job: Job): void => {
      if (job.id !== id) return;
      onChange(job);
      if (!OVER.includes(job.state)) return;
      stop();
      resolve(job);
    };
    stop = client.subscribe('jobs', 0, (_, { job }) => look(job));
    client.call('jobs.show', { job: id }).then(look, reject);
  });
}

/** The thing, once the job about it is over; jobs of comparisons and exports are found by what they are about. */
export async function waitForSubject(context: Context, kind: Job['kind'], subject: string): Promise<void> {
  const job = (await context.client.call('jobs.list', {})).find(
    (each) => each.kind === kind && each.subject === subject,
  );
  if (job) await waitForJob(context, job.id);
}

function finished(job: Job): Job {
  if (job.error) throw FettleError.fromInfo(job.error);
  if (job.state === 'cancelled')
    throw new FettleError('CANCELLED', `${job.title} was cancelled.`, 'Nothing half-done was kept.');
  if (job.state === 'interrupted')
    throw new FettleError('INTERRUPTED', `${job.title} was interrupted.`, 'Start it again.');
  return job;
}
