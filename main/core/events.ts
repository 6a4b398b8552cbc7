/** @file Numbered events per topic. Those of runs are kept in the database, so that their numbers outlive the host; the others while it lives. */
import type { EventOf, Topic } from '../contract/api.ts';
import { TrainEvent } from '../contract/training.ts';
import type { Clock, Db, Events } from './context.ts';

/** Kept of a topic that is not in the database; whoever missed more asks for the things themselves. */
const KEPT = 2000;
/** Topics of generations that are over are forgotten beyond so many. */
const MOST_TOPICS = 200;
const RUN = 'run:';

type Listener = (seq: number, event: unknown) => void;
interface Kept {
  last: number;
  readonly events: { readonly seq: number; readonly event: unknown }[];
}

export function createEvents(db: Db, clock: Clock): Events {
  const listeners = new Map<string, Set<Listener>>();
  const kept = new Map<string, Kept>();
  const insert = db.prepare('INSERT INTO run_event (run, seq, at, type, event) VALUES (?, ?, ?, ?, ?)');
  const highest = db.prepare<[string], { last: number | null }>('SELECT max(seq) AS last FROM run_event WHERE run = ?');
  const since = db.prepare<[string, number], { seq: number; event: string }>(
    'SELECT seq, event FROM run_event WHERE run = ? AND seq > ? ORDER BY seq',
  );
  /** Numbers go on above those of rows that were removed while this host lives. */
  const lastOfRun = new Map<string, number>();

  const memory = (topic: string): Kept => {
    const found = kept.get(topic);
    if (found) return found;
    const oldest =
      kept.size >= MOST_TOPICS
        ? [...kept.keys()].find((each) => each.startsWith('generation:') && !listeners.get(each)?.size)
        : undefined;
    if (oldest !== undefined) kept.delete(oldest);
    const made: Kept = { last: 0, events: [] };
    kept.set(topic, made);
    return made;
  };

  function keep(topic: string, event: unknown): number {
    if (topic.startsWith(RUN)) {
      const run = topic.slice(RUN.length);
      const seq = 1 + (lastOfRun.get(run) ?? highest.get(run)?.last ?? 0);
      insert.run(run, seq, clock.now(), (event as { type: string }).type, JSON.stringify(event));
      lastOfRun.set(run, seq);
      return seq;
    }
    const own = memory(topic);
    own.last += 1;
    own.events.push({ seq: own.last, event });
    if (own.events.length > KEPT) own.events.shift();
    return own.last;
  }

  function missed(topic: string, after: number): { seq: number; event: unknown }[] {
    if (topic.startsWith(RUN))
      return since
        .all(topic.slice(RUN.length), after)
        .map(({ seq, event }) => ({ seq, event: TrainEvent.parse(JSON.parse(event)) }));
    return (kept.get(topic)?.events ?? []).filter(({ seq }) => seq > after);
  }

  const publish = <T extends Topic>(topic: T, event: EventOf<T>): number => {
    const seq = keep(topic, event);
    for (const listener of listeners.get(topic) ?? []) listener(seq, event);
    return seq;
  };

  return {
    publish,
    changed: (what, id, project) => void publish('changes', { type: 'changed', what, id, project }),
    subscribe<T extends Topic>(topic: T, after: number, listener: (seq: number, event: EventOf<T>) => void) {
      const own = listener as Listener;
      // Nothing is published between the two, since all of this happens in one turn.
      for (const { seq, event } of missed(topic, after)) own(seq, event);
      const set = listeners.get(topic) ?? new Set();
      listeners.set(topic, set.add(own));
      return () => {
        set.delete(own);
        if (set.size === 0 && listeners.get(topic) === set) listeners.delete(topic);
      };
    },
  };
}
