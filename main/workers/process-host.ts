/** @file Starts child processes and looks after them: ready in time, alive by their heartbeat, ended by asking, waiting and at last killing. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Ask, Log, WorkerEntry, WorkerHandle, Workers } from '../core/context.ts';
import type { FromChild, ToChild } from './protocol.ts';

/** What a host needs of a process; Node's fork and Electron's utilityProcess both fit. */
export interface ChildProcess {
  readonly pid: number | undefined;
  send(message: ToChild): void;
  kill(): void;
  onMessage(listener: (message: FromChild) => void): void;
  /** What it writes to its error output. */
  onError(listener: (text: string) => void): void;
  onExit(listener: (code: number | null, signal: string | null) => void): void;
}
export type Spawn = (file: string) => ChildProcess;

export interface ProcessHostOptions {
  readonly spawn?: Spawn;
  readonly log: Log;
  /** File of an entry; packaged programs have them elsewhere. */
  readonly entry?: (name: WorkerEntry) => string;
  readonly limits?: Partial<Limits>;
}
/** Milliseconds. */
interface Limits {
  /** From the start until the child says that it is ready. */
  readonly ready: number;
  /** Without any sign of life. Loading and compiling block a child's heartbeat for a while. */
  readonly silence: number;
  /** After a cancel until it is killed. */
  readonly cancelGrace: number;
  /** After a pause or a stop: a step and a checkpoint have to be finished. */
  readonly stopGrace: number;
}
const LIMITS: Limits = { ready: 30_000, silence: 300_000, cancelGrace: 15_000, stopGrace: 600_000 };
/** Of a child's error output the end is kept. */
const KEPT_ERRORS = 4000;

export interface ProcessHost extends Workers {
  /** Kills what is left. */
  close(): void;
}

export function createProcessHost({
  spawn = forkEntry,
  log,
  entry: fileOf = sourceOf,
  limits,
}: ProcessHostOptions): ProcessHost {
  const { ready, silence, cancelGrace, stopGrace } = { ...LIMITS, ...limits };
  const running = new Set<ChildProcess>();

  function run<Event, Result>(entry: WorkerEntry, job: unknown, onEvent: (event: Event) => void): WorkerHandle<Result> {
    const child = spawn(fileOf(entry));
    running.add(child);
    let errors = '';
    let ended = false;
    let why: string | undefined;
    const queue: ToChild[] = [{ type: 'start', job }];
    let isReady = false;
    const send = (message: ToChild): void => {
      if (ended) return;
      if (isReady) child.send(message);
      else queue.push(message);
    };
    const kill = (reason: string): void => {
      why ??= reason;
      child.kill();
    };
    let grace: NodeJS.Timeout | undefined;
    let watch = setTimeout(() => kill('it was not ready in time'), ready);
    const alive = (): void => {
      clearTimeout(watch);
      // A machine that slept fires this first, and the signs of life that waited come right after.
      watch = setTimeout(() => (watch = setTimeout(() => kill('it gave no sign of life'), silence / 20)), silence);
    };

    const result = new Promise<Result>((resolve, reject) => {
      const settle = (finish: () => void): void => {
        if (ended) return;
        ended = true;
        clearTimeout(watch);
        clearTimeout(grace);
        finish();
      };
      child.onMessage((message) => {
        if (ended) return;
        alive();
        if (message.type === 'ready') {
          isReady = true;
          for (const waiting of queue.splice(0)) child.send(waiting);
        } else if (message.type === 'event') {
          try {
            onEvent(message.event as Event);
          } catch (error) {
            // What it reports cannot be kept (a full disk): its work would be lost, so it ends here.
            settle(() => reject(toFettleError(error)));
            child.kill();
          }
        } else if (message.type === 'done') settle(() => resolve(message.result as Result));
        else if (message.type === 'failed') settle(() => reject(FettleError.fromShape(message.error)));
      });
      child.onError((text) => (errors = (errors + text).slice(-KEPT_ERRORS)));
      child.onExit((code, signal) => {
        running.delete(child);
        settle(() => {
          log.error('a child process ended by itself', { entry, code, signal, why, errors });
          reject(crashed(entry, code, signal, why, errors));
        });
      });
    });
    const gone = new Promise<void>((resolve) => child.onExit(() => resolve()));
    // Whoever started it may not be waiting yet.
    result.catch(() => undefined);

    return {
      pid: child.pid,
      result,
      gone,
      send: (message) => send({ type: 'message', message }),
      kill: () => kill('it was stopped'),
      errors: () => errors,
      ask(what: Ask) {
        send({ type: 'ask', ask: what });
        clearTimeout(grace);
        grace = setTimeout(() => kill(`it did not ${what} in time`), what === 'cancel' ? cancelGrace : stopGrace);
      },
    };
  }

  return {
    run,
    close: () => {
      for (const child of running) child.kill();
    },
  };
}

function crashed(
  entry: WorkerEntry,
  code: number | null,
  signal: string | null,
  why: string | undefined,
  errors: string,
): FettleError {
  const how = why ?? (signal ? `it was ended by ${signal}` : `it ended with code ${code}`);
  const memory = signal === 'SIGKILL' && why === undefined;
  return new FettleError(
    why?.includes('in time') || why?.includes('sign of life') ? 'WORKER_TIMEOUT' : 'WORKER_CRASHED',
    `The process for “${entry}” stopped: ${how}.`,
    memory
      ? `The system may have run out of memory. Close other programs or choose a smaller model, and ${entry === 'train' ? 'resume' : 'try again'}.`
      : 'What was saved is safe; try again. The log has the details.',
    { details: { entry, code, signal, errors: errors.slice(-1000) } },
  );
}

/** How the C library gives a child memory (glibc; others pass over it), so that what a process holds can be told beforehand. */
const MEMORY_ENV = {
  // One heap for all threads, so that what one frees another takes.
  MALLOC_ARENA_MAX: '1',
  // What is larger than nearly all that a step asks for again and again is mapped by itself, by a size that stays as it is.
  MALLOC_MMAP_THRESHOLD_: String(32 * 2 ** 20),
  // The heap is not trimmed after every step.
  MALLOC_TRIM_THRESHOLD_: String(512 * 2 ** 20),
} as const;
/** Small pieces are not kept aside: the ends of large ones were, and no hole between two of them was whole again (docs/decisions/estimates.md). */
const MEMORY_TUNABLES = ['glibc.malloc.tcache_count=0', 'glibc.malloc.mxfast=0'];

/** The environment of a child of a process with this one. What a person has tuned of the C library's other parts stays. */
export function childEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const given = (env['GLIBC_TUNABLES'] ?? '').split(':').filter((each) => each && !MEMORY_TUNABLES.includes(each));
  return { ...env, ...MEMORY_ENV, GLIBC_TUNABLES: [...given, ...MEMORY_TUNABLES].join(':') };
}

const sourceOf = (name: WorkerEntry): string => join(import.meta.dirname, `${name}.ts`);

/** Under the Node that runs the host; the child ends when the channel to its host closes. */
const forkEntry: Spawn = (file) => {
  const child = fork(file, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'json',
    env: childEnv(process.env),
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  return {
    pid: child.pid,
    send: (message) => {
      // A child that has just died is told of by its exit.
      if (child.connected) child.send(message, () => undefined);
    },
    kill: () => void child.kill('SIGKILL'),
    onMessage: (listener) => void child.on('message', (message) => listener(message as FromChild)),
    onError: (listener) => void child.stderr?.setEncoding('utf8').on('data', listener),
    onExit: (listener) => {
      child.on('error', () => listener(null, null));
      child.on('exit', listener);
    },
  };
};
