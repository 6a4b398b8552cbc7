/** @file What every page is given: the client, what changed on the host, whether it answers, and the jobs at work. */
import { createContext } from 'svelte';
import type { Job } from '../../main/contract/entities.ts';
import type { Link, Transport } from '../transport/transport.ts';
import { Asked, Changes } from './asked.svelte.ts';

export class Session {
  readonly client: Transport;
  readonly changes = new Changes();
  /** Jobs that wait or work. */
  readonly jobs = new Asked<Job[]>();
  link = $state<Link>('connecting');
  #stops: (() => void)[] = [];

  constructor(client: Transport) {
    this.client = client;
  }

  /** Listens until the function that it returns is called. */
  open(): () => void {
    const { client, changes } = this;
    this.#stops = [
      client.onLink((link) => {
        const back = link === 'up' && this.link === 'down';
        this.link = link;
        if (back) changes.tell(null);
        if (back) this.#askJobs();
      }),
      client.subscribe('changes', 0, (_seq, event) => changes.tell(event)),
      client.subscribe('jobs', 0, () => this.#askJobs()),
    ];
    this.#askJobs();
    return () => {
      for (const stop of this.#stops) stop();
    };
  }

  #askJobs(): void {
    void this.jobs.ask(() => this.client.call('jobs.list', { active: true }));
  }
}

export const [useSession, provideSession] = createContext<Session>();
