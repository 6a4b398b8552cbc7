/** @file What the workbench asks of whatever carries its calls: the client of the contract, whether the host answers, and files. */
import type { z } from 'zod';
import {
  api,
  ChangedEvent,
  GenerationEvent,
  JobEvent,
  type Client,
  type EventOf,
  type OutputOf,
  type ProcedureName,
  type Reply,
  type Topic,
} from '../../main/contract/api.ts';
import { FettleError } from '../../main/contract/errors.ts';
import { TrainEvent } from '../../main/contract/training.ts';

/** Whether the host answers: not tried yet, yes, or lost and being tried again. */
export type Link = 'connecting' | 'up' | 'down';
export type Purpose = 'data' | 'model' | 'folder';

export interface Transport extends Client {
  /** Told at once how it stands, then at every change; returns how to stop. */
  onLink(listener: (link: Link) => void): () => void;
  /** Paths on the host's machine of files that were dropped or picked; uploads them where it has to. */
  bring(files: readonly File[], onShare: (share: number) => void): Promise<string[]>;
  /** The system's own dialog, where there is one. */
  readonly pick: ((purpose: Purpose) => Promise<string[]>) | null;
}

/** The data of a reply, checked against the contract; an error of the host is thrown as FettleError. */
export function readReply<N extends ProcedureName>(name: N, reply: Reply): OutputOf<N> {
  if (!reply.ok) throw FettleError.fromShape(reply.error);
  const parsed = api[name].output.safeParse(reply.data);
  if (!parsed.success)
    throw new FettleError(
      'INTERNAL',
      'The workbench did not understand the answer of its host.',
      'They may be of different versions: close both and start Fettle again.',
      { cause: parsed.error, details: { name } },
    );
  // The schema of `name` was applied: TypeScript cannot follow the lookup.
  return parsed.data as OutputOf<N>;
}

const EVENTS = { run: TrainEvent, generation: GenerationEvent, jobs: JobEvent, changes: ChangedEvent };

/** The event of a topic, or undefined where a newer host tells something that this workbench does not know. */
export function readEvent<T extends Topic>(topic: T, event: unknown): EventOf<T> | undefined {
  const kind = topic.split(':', 1)[0];
  const schema: z.ZodType | undefined = Object.entries(EVENTS).find(([name]) => name === kind)?.[1];
  const parsed = schema?.safeParse(event);
  return parsed?.success ? (parsed.data as EventOf<T>) : undefined;
}
