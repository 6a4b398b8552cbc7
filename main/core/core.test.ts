/** @file The core services: database, lock, events and jobs. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TrainEvent } from '../contract/training.ts';
import { systemClock } from './clock.ts';
import type { Db, JobControl, Log } from './context.ts';
import { openDatabase } from './database.ts';
import { createEvents } from './events.ts';
import { createJobs, type OwnedJobs } from './jobs.ts';
import { findHost, takeLock } from './lock.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'fettle-core-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

describe('the database', () => {
  it('is made with foreign keys and a write-ahead log, and opened again', () => {
    const path = join(folder, 'a.sqlite');
    openDatabase(path).close();
    const db = openDatabase(path);
    expect(db.pragma('foreign_keys', { simple: true })).toBe(1);
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
    expect(db.prepare('SELECT count(*) AS n FROM project').get()).toEqual({ n: 0 });
    db.close();
  });

  it('refuses one of a newer Fettle by name and leaves it alone', () => {
    const path = join(folder, 'a.sqlite');
    const db = openDatabase(path);
    db.pragma('user_version = 99');
    db.close();
    expect(() => openDatabase(path)).toThrow(expect.objectContaining({ code: 'DATABASE_NEWER' }));
  });

  it('says so where the file is no database', () => {
    const path = join(folder, 'a.sqlite');
    writeFileSync(path, 'not a database, but long enough to be looked at as one'.repeat(40));
    expect(() => openDatabase(path)).toThrow(expect.objectContaining({ code: 'DATABASE_BROKEN' }));
  });
});

describe('the lock of a home', () => {
  const info = { pid: process.pid, token: 't', kind: 'command', startedAt: '2026-01-01T00:00:00Z' } as const;

  it('says who holds it, and where', () => {
    const lock = takeLock(folder, info);
    lock.announce(4711);
    expect(findHost(folder)).toMatchObject({ pid: process.pid, port: 4711 });
    expect(() => takeLock(folder, info)).toThrow(
      expect.objectContaining({
        code: 'HOME_LOCKED',
        message: expect.stringContaining(String(process.pid)) as unknown,
      }),
    );
    lock.release();
    expect(findHost(folder)).toBeNull();
  });

  it('is free when its process is gone, however it went', async () => {
    const child = fork(join(import.meta.dirname, '../../test/fixtures/workers/holds-lock.ts'), [folder]);
    await once(child, 'message');
    expect(findHost(folder)).toMatchObject({ pid: child.pid });
    expect(() => takeLock(folder, info)).toThrow(expect.objectContaining({ code: 'HOME_LOCKED' }));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(findHost(folder)).toBeNull();
    takeLock(folder, info).release();
  });

  it('goes to one of many that want it at once', async () => {
    const children = Array.from({ length: 4 }, () =>
      fork(join(import.meta.dirname, '../../test/fixtures/workers/holds-lock.ts'), [folder]),
    );
    const said = await Promise.all(children.map(async (child) => (await once(child, 'message'))[0] as string));
    for (const child of children) child.kill('SIGKILL');
    expect(said.toSorted()).toEqual(['HOME_LOCKED', 'HOME_LOCKED', 'HOME_LOCKED', 'held']);
  });
});

describe('events', () => {
  const step = (n: number): TrainEvent => ({ type: 'sample', step: n, prompt: 'p', text: 't' });
  let db: Db;
  beforeEach(() => {
    db = openDatabase(join(folder, 'a.sqlite'));
    db.pragma('foreign_keys = OFF');
  });
  afterEach(() => db.close());

  it('tell what was missed first, in order, then what comes', () => {
    const events = createEvents(db, systemClock);
    for (const n of [1, 2, 3]) events.publish('run:a', step(n));
    const heard: number[] = [];
    const stop = events.subscribe('run:a', 1, (seq) => heard.push(seq));
    events.publish('run:a', step(4));
    events.publish('run:b', step(9));
    stop();
    events.publish('run:a', step(5));
    expect(heard).toEqual([2, 3, 4]);
  });

  it('of a run keep their numbers when the host is another', () => {
    createEvents(db, systemClock).publish('run:a', step(1));
    expect(createEvents(db, systemClock).publish('run:a', step(2))).toBe(2);
  });

  it('of other topics are kept while the host lives', () => {
    const events = createEvents(db, systemClock);
    events.changed('project', 'p', 'p');
    const heard: unknown[] = [];
    events.subscribe('changes', 0, (seq, event) => heard.push([seq, event.what]));
    expect(heard).toEqual([[1, 'project']]);
  });
});

describe('jobs', () => {
  let db: Db;
  let jobs: OwnedJobs;
  const open = (): OwnedJobs =>
    createJobs({ db, clock: systemClock, events: createEvents(db, systemClock), log: silent });
  const task = (subject: string) => ({ kind: 'compare', project: null, subject, title: subject }) as const;
  beforeEach(() => {
    db = openDatabase(join(folder, 'a.sqlite'));
    jobs = open();
  });
  afterEach(() => db.close());

  it('work one after the other and keep how they ended', async () => {
    const working: string[] = [];
    let most = 0;
    jobs.handle('compare', async ({ job, update }) => {
      working.push(job.subject);
      most = Math.max(most, working.length);
      update({ state: 'running', progress: 0.5 });
      await new Promise((resolve) => setTimeout(resolve, 5));
      working.pop();
      if (job.subject === 'b') throw new Error('no');
      return 'completed';
    });
    const ids = ['a', 'b', 'c'].map((subject) => jobs.enqueue(task(subject)).id);
    jobs.start();
    const ended = await Promise.all(ids.map((id) => jobs.settled(id)));
    expect(ended.map((job) => job.state)).toEqual(['completed', 'failed', 'completed']);
    expect(ended[1]!.error).toMatchObject({ code: 'INTERNAL', message: 'no' });
    expect(most).toBe(1);
  });

  it('that wait are cancelled at once, those at work are asked', async () => {
    let control: JobControl | undefined;
    jobs.handle('compare', (given) => {
      control = given;
      given.update({ state: 'running' });
      return new Promise((resolve) => given.onAsk((ask) => resolve(ask === 'pause' ? 'paused' : 'cancelled')));
    });
    const first = jobs.enqueue(task('a'));
    const second = jobs.enqueue(task('b'));
    jobs.start();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(jobs.ask(second.id, 'cancel').state).toBe('cancelled');
    expect(jobs.ask(first.id, 'pause').state).toBe('pausing');
    expect((await jobs.settled(first.id)).state).toBe('paused');
    expect(control?.job.id).toBe(first.id);
  });

  it('that were at work when the host went are interrupted', () => {
    const { id } = jobs.enqueue(task('a'));
    db.prepare("UPDATE job SET state = 'running' WHERE id = ?").run(id);
    expect(open().show(id).state).toBe('interrupted');
  });
});
