/** @file Puts Fettle together: core, features, router. Every host and every command begins here. */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Client, OutputOf, ProcedureName, Reply } from '../contract/api.ts';
import type { BlindTest, LearningCurve } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { systemClock } from '../core/clock.ts';
import type { Core } from '../core/context.ts';
import { openDatabase } from '../core/database.ts';
import { createEvents } from '../core/events.ts';
import { openHome, sweepHome } from '../core/home.ts';
import { createInUse } from '../core/in-use.ts';
import { createJobs } from '../core/jobs.ts';
import { takeLock } from '../core/lock.ts';
import { openLog } from '../core/log.ts';
import { createRouter, type AllHandlers } from '../core/router.ts';
import { createDatasets } from '../datasets/index.ts';
import { createSample } from '../datasets/sample.ts';
import { createDesk } from '../evaluation/desk/index.ts';
import { createEvaluation } from '../evaluation/index.ts';
import { createExports } from '../exports/index.ts';
import { createModels } from '../models/index.ts';
import { createPilots } from '../pilots/index.ts';
import { createProjects } from '../projects/index.ts';
import { createDevices } from '../recipes/devices.ts';
import { createSpeeds } from '../recipes/speeds.ts';
import { createRuns } from '../runs/index.ts';
import { createStrategy } from '../strategy/index.ts';
import { QUESTIONS } from '../strategy/questions.ts';
import { createTalk, type Talk } from '../talk/index.ts';
import { createProcessHost, type ProcessHostOptions } from '../workers/process-host.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { browse } from './browse.ts';
import { doctor } from './doctor.ts';
import { describeMachine } from './machine.ts';
import { createEndpoint, type EndpointService } from './openai/endpoint.ts';

export interface AppOptions {
  /** Folder of everything that is kept; made where it is missing. */
  readonly home: string;
  readonly kind: Core['host'];
  /** Threads for training and answering; as many as there are cores where it is left out. */
  readonly threads?: number | undefined;
  /** How child processes are started; Electron has its own way. */
  readonly workers?: Pick<ProcessHostOptions, 'spawn' | 'entry'>;
}

export interface App {
  readonly core: Core;
  /** The secret that clients of the local API must know. */
  readonly token: string;
  dispatch(name: string, input: unknown): Promise<Reply>;
  /** The API without a transport between. */
  readonly client: Client;
  /** Writes down in the lock where commands reach this host. */
  announce(port: number): void;
  /** Takes no more clients, pauses a run at work, ends the rest, frees the home. A second call waits for the first. */
  close(): Promise<void>;
}

/** @throws HOME_LOCKED, DATABASE_NEWER, DATABASE_BROKEN, FILE_UNREADABLE, DISK_FULL */
export function createApp({ home: root, kind, threads = availableParallelism(), workers: ways = {} }: AppOptions): App {
  const home = openHome(root);
  const token = randomBytes(24).toString('base64url');
  const lock = takeLock(root, { pid: process.pid, token, kind, startedAt: systemClock.now() });
  try {
    sweepHome(home);
    const log = openLog(home.logs, systemClock);
    const db = openDatabase(join(root, 'fettle.sqlite'));
    const events = createEvents(db, systemClock);
    const workers = createProcessHost({ log, ...ways });
    const jobs = createJobs({ db, clock: systemClock, events, log });
    const core: Core = {
      home,
      db,
      clock: systemClock,
      log,
      events,
      workers,
      jobs,
      inUse: createInUse(db, jobs),
      threads,
      version: packageJson.version,
      host: kind,
    };
    const { handlers, endpoint, talk } = featuresOf(core);
    const router = createRouter(handlers, log);
    const dispatch = (name: string, input: unknown): Promise<Reply> => router.dispatch(name, input);
    jobs.start();
    const close = async (): Promise<void> => {
      try {
        lock.announce(0);
      } catch (error) {
        // A home that was removed under its host has no clients to tell.
        log.warn('closing could not be announced', { error: String(error) });
      }
      await endpoint.close();
      await talk.close();
      await jobs.close();
      workers.close();
      db.close();
      lock.release();
    };
    let closing: Promise<void> | undefined;
    return {
      core,
      token,
      dispatch,
      client: { call: (name, input) => callThrough(dispatch, name, input), subscribe: events.subscribe },
      announce: (port) => lock.announce(port),
      close: () => (closing ??= close()),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function featuresOf(core: Core): {
  readonly handlers: AllHandlers;
  readonly endpoint: EndpointService;
  readonly talk: Talk;
} {
  const projects = createProjects(core, { questions: QUESTIONS.length });
  const models = createModels(core);
  const datasets = createDatasets(core, { models, projects });
  const sample = createSample({ projects, datasets });
  const strategy = createStrategy(core, { projects, datasets, models });
  const pilots = createPilots(core, { projects, models, datasets });
  const speeds = createSpeeds(core);
  const devices = createDevices(core, speeds);
  const runs = createRuns(core, { projects, models, datasets, strategy, speeds, devices });
  const talk = createTalk(core, { projects, models, datasets, runs });
  const endpoint = createEndpoint(core, talk);
  const curves = async (project: string): Promise<LearningCurve[]> => pilots.handlers['curves.list']({ project });
  const { makeRoom } = talk.generation;
  const evaluation = createEvaluation(core, { projects, models, datasets, runs, strategy, curves, makeRoom });
  const exports = createExports(core, { projects, models, datasets, runs, evaluation, makeRoom });
  const blind = async (project: string): Promise<BlindTest[]> => talk.handlers['blind.list']({ project });
  const desk = createDesk(core, { projects, models, datasets, runs, evaluation, exports, curves, blind });
  const handlers: AllHandlers = {
    'app.info': async () => ({
      version: core.version,
      home: core.home.root,
      host: core.host,
      machine: await describeMachine(core),
    }),
    'app.doctor': () => doctor(core, speeds, devices),
    'app.browse': browse,
    'jobs.list': (input) => core.jobs.list(input),
    'jobs.show': ({ job }) => core.jobs.show(job),
    'jobs.cancel': ({ job }) => {
      const { kind, subject } = core.jobs.show(job);
      // A run writes down how it ended.
      if (kind === 'train') runs.ask(subject, 'cancel');
      else core.jobs.ask(job, 'cancel');
      return core.jobs.show(job);
    },
    ...projects.handlers,
    ...models.handlers,
    ...datasets.handlers,
    ...sample.handlers,
    ...strategy.handlers,
    ...pilots.handlers,
    ...runs.handlers,
    ...evaluation.handlers,
    ...talk.handlers,
    ...desk.handlers,
    ...exports.handlers,
    ...endpoint.handlers,
  };
  return { handlers, endpoint, talk };
}

/** @throws the error that came back. */
export async function callThrough<N extends ProcedureName>(
  dispatch: (name: string, input: unknown) => Promise<Reply>,
  name: N,
  input: unknown,
): Promise<OutputOf<N>> {
  const reply = await dispatch(name, input);
  if (!reply.ok) throw FettleError.fromShape(reply.error);
  // The handler of `name` gave it: TypeScript cannot follow the lookup.
  return reply.data as OutputOf<N>;
}
