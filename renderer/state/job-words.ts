/** @file The states of a job in a word or two, and what may be done in each. */
import { isActive, isResumable, type JobState } from '../../main/contract/training.ts';
import type { MarkState } from '../ui/Mark.svelte';

interface Words {
  readonly word: string;
  readonly mark: MarkState;
}
export const JOB_STATES: Readonly<Record<JobState, Words>> = {
  queued: { word: 'Waiting', mark: 'next' },
  starting: { word: 'Starting', mark: 'running' },
  running: { word: 'Running', mark: 'running' },
  pausing: { word: 'Pausing', mark: 'running' },
  paused: { word: 'Paused', mark: 'ask' },
  stopping: { word: 'Stopping', mark: 'running' },
  completed: { word: 'Done', mark: 'done' },
  failed: { word: 'Failed', mark: 'failed' },
  cancelled: { word: 'Cancelled', mark: 'later' },
  interrupted: { word: 'Interrupted', mark: 'ask' },
};

export { isActive, isResumable };
export const canPause = (state: JobState): boolean => state === 'running' || state === 'starting' || state === 'queued';
/** Ended in a way that it can be continued from. */
export const isFinished = (state: JobState): boolean => state === 'completed' || state === 'cancelled';
