/** @file The entities that host and workbench tell each other of, a file for each feature. */
export * from './entities/common.ts';
export * from './entities/jobs.ts';
export * from './entities/models.ts';
export * from './entities/datasets.ts';
export * from './entities/strategy.ts';
export * from './entities/trials.ts';
export * from './entities/projects.ts';
export * from './entities/runs.ts';
export * from './entities/evaluation.ts';
export * from './entities/exports.ts';
export * from './entities/talk.ts';
export * from './entities/machine.ts';
