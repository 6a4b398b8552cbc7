/** @file Where a run keeps what it made. */
import { join } from 'node:path';

/** Folder of a run's checkpoints, one folder each. */
export const checkpointsOf = (run: string): string => join(run, 'checkpoints');

/** Where what it answered to the questions of a proof is kept for its next export; goes with the run. */
export const ANSWERS = 'proof-answers';
export const answersOf = (run: string): string => join(run, ANSWERS);
