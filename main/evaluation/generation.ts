/** @file Answers to prompts: one process a target keeps its model loaded for a while; pieces are told as they come. */
import { randomUUID } from 'node:crypto';
import type { ParsedInputOf } from '../contract/api.ts';
import type { ErrorInfo } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Core, WorkerHandle } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Models } from '../models/index.ts';
import type { Runs } from '../runs/index.ts';
import type { GenerateEvent, GenerateJob, GenerateMessage } from '../workers/generate.ts';
import { resolveTarget, type ResolvedTarget } from './targets.ts';

/** Loaded at once: enough for two side by side. */
const MOST_LOADED = 2;

interface Loaded {
  readonly worker: WorkerHandle<void>;
  /** Answers asked for and not finished. */
  readonly open: Set<string>;
  usedAt: number;
}

export function createGeneration(
  core: Core,
  parts: { readonly models: Models; readonly runs: Runs },
): Handlers<'generate.start' | 'generate.stop'> {
  /** By what is loaded: model and adapter folder. */
  const loaded = new Map<string, Loaded>();
  const owner = new Map<string, Loaded>();

  const finish = (id: string, from: Loaded): void => {
    from.open.delete(id);
    owner.delete(id);
  };
  const fail = (id: string, from: Loaded, error: ErrorInfo): void => {
    finish(id, from);
    const { code, message, hint } = error;
    core.events.publish(`generation:${id}`, { type: 'error', error: { code, message, ...(hint ? { hint } : {}) } });
  };

  function load(target: ResolvedTarget): Loaded {
    const key = [target.modelPath, ...target.under, target.adapter ?? ''].join('\n');
    const known = loaded.get(key);
    if (known) return known;
    makeRoom();
    const job: GenerateJob = {
      model: target.modelPath,
      adapter: target.adapter,
      under: target.under,
      threads: core.threads,
    };
    const worker = core.workers.run<GenerateEvent, void>('generate', job, ({ id, event }) => {
      if (event.type === 'error') fail(id, entry, event.error);
      else {
        core.events.publish(`generation:${id}`, event);
        if (event.type === 'done') finish(id, entry);
      }
    });
    const entry: Loaded = { worker, open: new Set(), usedAt: core.clock.ticks() };
    loaded.set(key, entry);
    const gone = (error?: unknown): void => {
      if (loaded.get(key) === entry) loaded.delete(key);
      // What was asked in the moment in which it left for idleness, or what a crash left open.
      const known =
        error === undefined
          ? new FettleError('INTERRUPTED', 'The model was put away before it answered.', 'Ask again.')
          : toFettleError(error);
      for (const id of [...entry.open]) fail(id, entry, known.toShape());
    };
    worker.result.then(() => gone(), gone);
    return entry;
  }

  /** Puts the longest unused away; where all are at work, they are left and memory decides. */
  function makeRoom(): void {
    const idle = [...loaded.entries()]
      .filter(([, { open }]) => open.size === 0)
      .sort((a, b) => a[1].usedAt - b[1].usedAt);
    while (loaded.size >= MOST_LOADED && idle.length > 0) {
      const [key, entry] = idle.shift()!;
      loaded.delete(key);
      entry.worker.ask('cancel');
    }
  }

  function start(input: ParsedInputOf<'generate.start'>): { id: string } {
    const target = resolveTarget(parts, input.target);
    const id = randomUUID();
    const entry = load(target);
    entry.usedAt = core.clock.ticks();
    entry.open.add(id);
    owner.set(id, entry);
    const { prompt, system, history, raw, sampling } = input;
    const messages = [
      ...(system ? [{ role: 'system' as const, content: system }] : []),
      ...(history ?? []),
      { role: 'user' as const, content: prompt },
    ];
    const message: GenerateMessage = {
      type: 'ask',
      id,
      target: input.target,
      prompt: raw ? prompt : messages,
      sampling,
    };
    entry.worker.send(message);
    return { id };
  }

  return {
    'generate.start': start,
    'generate.stop': ({ id }) => {
      const message: GenerateMessage = { type: 'stop', id };
      owner.get(id)?.worker.send(message);
      return { ok: true };
    },
  };
}
