/** @file Follows a run to its end: progress on a terminal, or one JSON object a line. Ctrl-C pauses it. */
import type { NumberedTrainEvent } from '../contract/api.ts';
import type { Run } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { TrainEvent } from '../contract/training.ts';
import type { Context } from './command.ts';
import { drawCurve, type Point } from './curve.ts';
import { count, duration, loss } from './format.ts';
import { createProgress } from './progress.ts';

export interface FollowOptions {
  /** A JSON object a line on stdout. */
  readonly lines?: boolean;
  /** Events up to this number were seen before. */
  readonly after?: number;
}

/**
 * Resolves when the run has ended or stands still.
 * @throws INTERRUPTED after Ctrl-C, once the run is paused.
 */
export async function followRun(
  { client, signal }: Context,
  id: string,
  { lines = false, after = 0 }: FollowOptions = {},
): Promise<Run> {
  const progress = createProgress();
  let heldOut: number | null = null;
  /** The first step that was told: from there the pace is measured. */
  let first: { readonly step: number; readonly seconds: number } | undefined;
  const tell = (event: TrainEvent): void => {
    if (lines) process.stdout.write(`${JSON.stringify(event)}\n`);
    else if (event.type === 'eval') heldOut = event.loss;
    else if (event.type === 'state' && event.stage) progress.show(event.stage, null);
    else if (event.type === 'step') {
      first ??= event;
      const pace = event.step > first.step ? (event.seconds - first.seconds) / (event.step - first.step) : null;
      const left = pace === null ? '' : `, ${duration(pace * (event.steps - event.step))} left`;
      progress.show(
        `step ${event.step} of ${event.steps}, loss ${loss(event.loss)}${heldOut === null ? '' : `, on unseen ${loss(heldOut)}`}, ${count(event.tokensPerSecond)} tokens/s${left}`,
        event.step / event.steps,
      );
    }
  };
  const onInterrupt = (): void => {
    progress.show('Pausing: one more step and a checkpoint', null);
    void client.call('runs.pause', { run: id }).catch(() => undefined);
  };
  if (signal.aborted) onInterrupt();
  signal.addEventListener('abort', onInterrupt);
  try {
    await ended(client, id, after, tell);
  } finally {
    signal.removeEventListener('abort', onInterrupt);
    progress.end();
  }
  const run = await client.call('runs.show', { run: id });
  if (signal.aborted && run.state === 'paused')
    throw new FettleError(
      'INTERRUPTED',
      `Run ${id} is paused at step ${run.step} of ${run.steps}; nothing is lost.`,
      `fettle run resume ${id}`,
    );
  return run;
}

function ended(client: Context['client'], id: string, after: number, tell: (event: TrainEvent) => void): Promise<void> {
  return new Promise((resolve) => {
    let started = false;
    let stop = (): void => undefined;
    let over = false;
    stop = client.subscribe(`run:${id}`, after, (_, event) => {
      if (over) return;
      tell(event);
      if (event.type === 'state' && ['queued', 'starting', 'running'].includes(event.state)) started = true;
      const standsStill = event.type === 'state' && ['paused', 'interrupted'].includes(event.state);
      if (started && (event.type === 'result' || standsStill)) {
        over = true;
        // Subscribing may tell what was missed before it returns.
        setImmediate(() => stop());
        resolve();
      }
    });
  });
}

/** The run's curve for the terminal: train loss by step, held-out loss as marks. */
export async function runCurve({ client }: Pick<Context, 'client'>, run: string): Promise<string> {
  const { events } = await client.call('runs.events', { run, limit: 400 });
  const points = (type: 'step' | 'eval'): Point[] =>
    events.flatMap(({ event }: NumberedTrainEvent) => (event.type === type ? [{ x: event.step, y: event.loss }] : []));
  const curve = drawCurve(points('step'), points('eval'));
  return curve && `${curve}\n        steps; ⠤ loss on what it reads, ● loss on unseen examples`;
}

/** How a run ended, in a few lines. @throws what it failed with. */
export function describeEnd({ say }: Context, run: Run): void {
  if (run.error) throw FettleError.fromInfo(run.error);
  say(
    `Run ${run.id} is ${run.state}: ${count(run.step)} steps, ${count(run.tokens)} tokens in ${duration(run.seconds)}${run.tokensPerSecond === null ? '' : `, ${count(run.tokensPerSecond)} tokens/s`}.`,
  );
  if (run.heldOutLossStart !== null && run.best)
    say(
      `Loss on unseen examples: ${loss(run.heldOutLossStart)} before, ${loss(run.best.loss)} at its best (step ${run.best.step}).`,
    );
}
