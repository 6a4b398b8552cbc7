/** @file Where a run keeps what it made. */
import { join } from 'node:path';

/** Folder of a run's checkpoints, one folder each. */
export const checkpointsOf = (run: string): string => join(run, 'checkpoints');
