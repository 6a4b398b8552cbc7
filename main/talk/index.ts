/** @file Talking to models: single prompts, conversations, a file of inputs, blind tests. */
import type { ParsedInputOf } from '../contract/api.ts';
import { toFettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { resolveTarget, type ResolvedTarget } from '../evaluation/targets.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import { createAnswers } from './answers.ts';
import { createBlind } from './blind.ts';
import { createChats } from './chats.ts';
import { createGeneration, turnsOf, type Generation } from './generation.ts';

export interface Talk {
  readonly handlers: Handlers<'generate.start' | 'generate.stop'> &
    ReturnType<typeof createChats>['handlers'] &
    ReturnType<typeof createAnswers>['handlers'] &
    ReturnType<typeof createBlind>['handlers'];
  readonly generation: Generation;
  /** @throws MODEL_NOT_FOUND, CHECKPOINT_NOT_FOUND */
  resolve(target: string): ResolvedTarget;
  /** Ends what is being said, keeping it, and takes no more. */
  close(): Promise<void>;
}

export function createTalk(
  core: Core,
  parts: {
    readonly projects: Projects;
    readonly models: Models;
    readonly datasets: Datasets;
    readonly runs: Runs;
  },
): Talk {
  const generation = createGeneration(core);

  function start(input: ParsedInputOf<'generate.start'>): { id: string } {
    const { prompt, system, history, raw, sampling, stop } = input;
    const question = { prompt: raw ? prompt : turnsOf(system, history ?? [], prompt), sampling, stop };
    const { id, told } = generation.ask(resolveTarget(parts, input.target), question, (text) =>
      core.events.publish(`generation:${id}`, { type: 'piece', text }),
    );
    told.then(
      (done) => core.events.publish(`generation:${id}`, { type: 'done', ...done }),
      (error: unknown) => {
        const { code, message, hint } = toFettleError(error);
        const known = { code, message, ...(hint ? { hint } : {}) };
        core.events.publish(`generation:${id}`, { type: 'error', error: known });
      },
    );
    return { id };
  }

  return {
    generation,
    resolve: (target) => resolveTarget(parts, target),
    close: () => generation.close(),
    handlers: {
      'generate.start': start,
      'generate.stop': ({ id }) => {
        generation.stop(id);
        return { ok: true };
      },
      ...createChats(core, { ...parts, generation }).handlers,
      ...createAnswers(core, { ...parts, generation }).handlers,
      ...createBlind(core, { ...parts, generation }).handlers,
    },
  };
}
