/** @file A run as it goes on: everything it reported so far, then each new event, told to views at most once a frame. */
import type { Client } from '../../main/contract/api.ts';
import { toFettleError, type FettleError } from '../../main/contract/errors.ts';
import { RunSeries } from './run-series.ts';

/** More points than a chart has pixels gain nothing. */
const POINTS = 4000;

export class LiveRun {
  /** A new object at every telling, so that views see the change; the columns within are the same. */
  now = $state.raw<{ readonly series: RunSeries }>({ series: new RunSeries() });
  loaded = $state(false);
  error = $state.raw<FettleError>();

  /** Loads and follows a run until the function that it returns is called. */
  follow(client: Client, run: string): () => void {
    const series = new RunSeries();
    this.now = { series };
    this.loaded = false;
    this.error = undefined;
    let stopped = false;
    let frame = 0;
    let stop = (): void => undefined;
    const tell = (): void => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        this.now = { series };
      });
    };
    void client.call('runs.events', { run, limit: POINTS }).then(
      ({ last, events }) => {
        if (stopped) return;
        for (const { event } of events) series.add(event);
        this.now = { series };
        this.loaded = true;
        stop = client.subscribe(`run:${run}`, last, (_seq, event) => {
          series.add(event);
          tell();
        });
      },
      (error: unknown) => {
        if (!stopped) this.error = toFettleError(error);
      },
    );
    return () => {
      stopped = true;
      cancelAnimationFrame(frame);
      stop();
    };
  }
}

/** For components: follows the run that `run` names, and the next one when it changes; null follows nothing. */
export function followRun(client: Client, run: () => string | null): LiveRun {
  const live = new LiveRun();
  $effect(() => {
    const id = run();
    if (id !== null) return live.follow(client, id);
    return undefined;
  });
  return live;
}
