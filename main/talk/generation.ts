/** @file Answers to prompts: a process a base model keeps it loaded for a while, with the adapters that are asked for; pieces are told as they come. */
import { randomUUID } from 'node:crypto';
import type { Answer, ChatTurn, Sampling } from '../contract/entities.ts';
import { bytes } from '../contract/bytes.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Core, WorkerHandle } from '../core/context.ts';
import { availableMemory } from '../core/memory.ts';
import type { ResolvedTarget } from '../evaluation/targets.ts';
import type { GenerateEvent, GenerateJob, GenerateMessage } from '../workers/generate.ts';

/** Base models held in memory at once, as far as it allows. */
const MOST_LOADED = 4;
/** Of them, those that answer at the same time: each would have all threads. Questions to others wait. */
const MOST_AT_WORK = 2;
/** Then the memory is given back. */
const IDLE_MS = 300_000;
/** A token takes less; reading a long prompt may take more, and its answer is then lost. */
const CLOSE_MS = 2000;
/** Bytes of a loaded model for each of its numbers: float32, and a tenth for what it computes with. */
const BYTES_A_NUMBER = 4.4;

export interface Question {
  /** A text is gone on from as it stands; turns go through the model's chat template. */
  readonly prompt: string | readonly ChatTurn[];
  readonly sampling: Sampling;
  /** Texts that end the answer. */
  readonly stop?: readonly string[];
}
/** The whole of an answer, and what it took of what the model can read. */
export interface Told {
  readonly answer: Answer;
  readonly promptTokens: number;
  readonly contextTokens: number;
}
export interface Asked {
  readonly id: string;
  /** Rejects with FettleError. */
  readonly told: Promise<Told>;
  /** Ends it where it is; what was said stays. */
  stop(): void;
}
export interface Generation {
  /**
   * Puts models that rest away where a job needs the memory for the largest of its own, and waits until they are gone.
   * @throws MEMORY_SHORT where it is too little even so
   */
  makeRoom(models: readonly Sized[]): Promise<void>;
  ask(target: ResolvedTarget, question: Question, onPiece?: (text: string) => void): Asked;
  /** Stops a question by its id; nothing where it is over. */
  stop(id: string): void;
  /** Stops all questions and waits a moment for what was said; no more are taken. */
  close(): Promise<void>;
}

type Sized = Pick<ResolvedTarget['model'], 'name' | 'parameters'>;

interface Open {
  /** What has to be loaded for it. */
  readonly key: string;
  readonly target: ResolvedTarget;
  readonly message: Extract<GenerateMessage, { type: 'ask' }>;
  readonly onPiece: (text: string) => void;
  readonly told: Promise<Told>;
  readonly resolve: (told: Told) => void;
  readonly reject: (error: FettleError) => void;
}
interface Loaded {
  readonly key: string;
  readonly worker: WorkerHandle<void>;
  /** Asked of it and not answered. */
  readonly open: Map<string, Open>;
  usedAt: number;
  idle?: NodeJS.Timeout;
}

/** @param available bytes of memory that are free. */
export function createGeneration(core: Core, available = availableMemory): Generation {
  /** By what is loaded: the base model and the stages merged into it. */
  const loaded = new Map<string, Loaded>();
  /** Put away, and holding their memory until they have ended. */
  const leaving = new Set<Loaded>();
  let closed = false;
  /** Asked, and not handed to a model yet, in order: there is no room for theirs. */
  const waiting: Open[] = [];

  core.inUse.add(() =>
    [...waiting, ...[...loaded.values()].flatMap(({ open }) => [...open.values()])].map(({ target }) => ({
      title: `Asking ${target.label}`,
      reads: [`model:${target.model.id}`, ...(target.run ? [`run:${target.run.id}` as const] : [])],
    })),
  );

  function finish(entry: Loaded, id: string): Open | undefined {
    const open = entry.open.get(id);
    entry.open.delete(id);
    entry.usedAt = core.clock.ticks();
    if (entry.open.size === 0) rest(entry);
    // After this turn, so that who was told can ask on before the model makes room for another.
    setImmediate(advance);
    return open;
  }
  function rest(entry: Loaded): void {
    clearTimeout(entry.idle);
    entry.idle = setTimeout(() => putAway(entry), IDLE_MS).unref();
  }
  function putAway(entry: Loaded): void {
    loaded.delete(entry.key);
    leaving.add(entry);
    clearTimeout(entry.idle);
    entry.worker.ask('cancel');
  }

  function heard(entry: Loaded, { id, event }: GenerateEvent): void {
    if (event.type === 'piece') return entry.open.get(id)?.onPiece(event.text);
    const open = finish(entry, id);
    if (event.type === 'error') open?.reject(FettleError.fromInfo(event.error));
    else open?.resolve(event);
  }

  function load(key: string, { modelPath, under }: ResolvedTarget): Loaded {
    const job: GenerateJob = { model: modelPath, under, threads: core.threads };
    const worker = core.workers.run<GenerateEvent, void>('generate', job, (event) => heard(entry, event));
    const entry: Loaded = { key, worker, open: new Map(), usedAt: core.clock.ticks() };
    loaded.set(key, entry);
    const gone = (error: FettleError): void => {
      if (loaded.get(key) === entry) loaded.delete(key);
      leaving.delete(entry);
      clearTimeout(entry.idle);
      for (const { reject } of entry.open.values()) reject(error);
      entry.open.clear();
      advance();
    };
    worker.result.then(
      () => gone(new FettleError('INTERRUPTED', 'The model was put away before it answered.', 'Ask again.')),
      (error: unknown) => gone(toFettleError(error)),
    );
    return entry;
  }

  /** The longest unused first. */
  const atRest = (): Loaded[] =>
    [...loaded.values()].filter(({ open }) => open.size === 0).sort((a, b) => a.usedAt - b.usedAt);

  async function makeRoom(models: readonly Sized[]): Promise<void> {
    const largest = models.reduce((most, model) => (model.parameters > most.parameters ? model : most));
    const needed = largest.parameters * BYTES_A_NUMBER;
    const short = (): boolean => available() < needed;
    for (const entry of leaving) if (short()) await entry.worker.gone;
    for (const entry of atRest()) {
      if (!short()) break;
      // Somebody may have asked it meanwhile.
      if (entry.open.size > 0 || loaded.get(entry.key) !== entry) continue;
      putAway(entry);
      await entry.worker.gone;
    }
    if (short())
      throw new FettleError(
        'MEMORY_SHORT',
        `${largest.name} takes about ${bytes(needed)} of memory, and ${bytes(available())} are free.`,
        loaded.size > 0
          ? 'Wait until the models that are asked have answered, or close other programs.'
          : 'Close other programs, or choose a smaller model.',
      );
  }

  /** Puts models that rest away, the longest unused first, until there is room. @throws MEMORY_SHORT where there will be none. */
  function hasRoom({ model }: ResolvedTarget): boolean {
    const needed = model.parameters * BYTES_A_NUMBER;
    const short = (): boolean => available() < needed;
    const resting = atRest();
    while (resting.length > 0 && (loaded.size >= MOST_LOADED || short())) putAway(resting.shift()!);
    if (loaded.size < MOST_LOADED && !short()) return true;
    if (loaded.size === 0 && leaving.size === 0)
      throw new FettleError(
        'MEMORY_SHORT',
        `${model.name} takes about ${bytes(needed)} of memory, and ${bytes(available())} are free.`,
        'Close other programs, pause a run at work, or ask a smaller model.',
      );
    return false;
  }

  /** Hands what waits to its models, first come first served. */
  function advance(): void {
    for (let next = waiting[0]; next; next = waiting[0]) {
      const { key, target, message } = next;
      try {
        const known = loaded.get(key);
        const atWork = [...loaded.values()].filter(({ open }) => open.size > 0);
        if (atWork.length >= MOST_AT_WORK && !(known && atWork.includes(known))) return;
        const entry = known ?? (hasRoom(target) ? load(key, target) : undefined);
        if (!entry) return;
        waiting.shift();
        clearTimeout(entry.idle);
        entry.open.set(message.id, next);
        entry.worker.send(message);
      } catch (error) {
        waiting.shift();
        next.reject(toFettleError(error));
      }
    }
  }

  function ask(target: ResolvedTarget, question: Question, onPiece: Open['onPiece'] = () => undefined): Asked {
    if (closed) throw new FettleError('INTERRUPTED', 'Fettle is closing.', 'Ask again when it is open.');
    const id = randomUUID();
    const { prompt, sampling, stop: stopTexts = [] } = question;
    const { promise: told, resolve, reject } = Promise.withResolvers<Told>();
    const key = [target.modelPath, ...target.under].join('\n');
    const { target: name, adapter } = target;
    const message = { type: 'ask', id, target: name, adapter, prompt, sampling, stop: stopTexts } as const;
    waiting.push({ key, target, message, onPiece, told, resolve, reject });
    // Whoever asked may not be waiting yet.
    told.catch(() => undefined);
    advance();
    return { id, told, stop: () => stop(id) };
  }

  function stop(id: string): void {
    const at = waiting.findIndex(({ message }) => message.id === id);
    const [open] = at < 0 ? [] : waiting.splice(at, 1);
    const message: GenerateMessage = { type: 'stop', id };
    if (!open) for (const entry of loaded.values()) if (entry.open.has(id)) entry.worker.send(message);
    open?.resolve({
      answer: { target: open.target.target, text: '', tokens: 0, stopReason: 'aborted', tokensPerSecond: 0 },
      promptTokens: 0,
      contextTokens: open.target.model.contextLength,
    });
  }

  async function close(): Promise<void> {
    closed = true;
    const open = [...loaded.values()].flatMap((entry) => [...entry.open.values()]);
    const over = Promise.allSettled(open.map(({ told }) => told));
    for (const { message } of [...waiting, ...open]) stop(message.id);
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
    for (const entry of [...loaded.values()]) putAway(entry);
    // Those who were told write it down.
    await new Promise((resolve) => setImmediate(resolve));
  }

  return { ask, stop, close, makeRoom };
}

/** What is said before a question, and the question. */
export const turnsOf = (system: string | undefined, history: readonly ChatTurn[], prompt: string): ChatTurn[] => [
  ...(system ? [{ role: 'system' as const, content: system }] : []),
  ...history,
  { role: 'user', content: prompt },
];
