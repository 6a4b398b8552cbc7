/** @file What a run has reported, read back from its kept events: the figures of its row in a list, its checkpoints, its thinned curve. */
import type { NumberedTrainEvent } from '../contract/api.ts';
import type { Checkpoint, Run } from '../contract/entities.ts';
import { CheckpointEvent, DeviceEvent, EvalEvent, StepEvent, TrainEvent } from '../contract/training.ts';
import { Recipe } from '../contract/recipe.ts';
import type { Db } from '../core/context.ts';
import type { Pace } from '../recipes/index.ts';

interface EventRow {
  readonly seq: number;
  readonly at: string;
  readonly event: string;
}
export type Figures = Pick<
  Run,
  | 'step'
  | 'steps'
  | 'tokens'
  | 'tokensPerSecond'
  | 'seconds'
  | 'heldOutLoss'
  | 'heldOutLossStart'
  | 'best'
  | 'checkpoints'
  | 'device'
> & { readonly memoryBytes: number | null };

export interface History {
  figures(run: string): Figures;
  /** Everything after a number; steps thinned evenly to about `limit`, the last one and all else always there. */
  events(run: string, after: number, limit: number): { last: number; events: NumberedTrainEvent[] };
  /** Epochs done at a step, 0 where it was never reported. */
  epochAt(run: string, step: number): number;
  /** Forgets what lies beyond a step: a run that goes on from there reports it again. */
  rewind(run: string, step: number): void;
  /** Training tokens a second of runs on a model that were alike, on the device too, those of the nearest length first. */
  pace(model: string): Pace;
}

/** Steps over which the speed is averaged. */
const RECENT = 30;
/** Of a recipe what a token's time hangs on, beside the length of rows. */
const PACED_BY = ['precision', 'method', 'activationCheckpointing', 'useDora'] as const;

export function createHistory(db: Db): History {
  const newest = db.prepare<[string, string, number], EventRow>(
    'SELECT seq, at, event FROM run_event WHERE run = ? AND type = ? ORDER BY seq DESC LIMIT ?',
  );
  const every = db.prepare<[string, string], EventRow>(
    'SELECT seq, at, event FROM run_event WHERE run = ? AND type = ? ORDER BY seq',
  );

  const deviceOf = (run: string): Figures['device'] =>
    newest.all(run, 'device', 1).map((row) => DeviceEvent.omit({ type: true }).parse(JSON.parse(row.event)))[0] ?? null;
  /** Runs from when there was one device only name none. */
  const usedBy = (run: string): DeviceEvent['device'] => deviceOf(run)?.device ?? 'cpu';

  const figures = (run: string): Figures => {
    const recent = newest.all(run, 'step', RECENT).map((row) => StepEvent.parse(JSON.parse(row.event)));
    const evals = every.all(run, 'eval').map((row) => EvalEvent.parse(JSON.parse(row.event)));
    const [last] = recent;
    const best = evals.toSorted((a, b) => a.loss - b.loss || a.step - b.step)[0];
    return {
      step: last?.step ?? 0,
      steps: last?.steps ?? 0,
      tokens: last?.tokens ?? 0,
      tokensPerSecond: meanSpeed(recent),
      seconds: Math.max(last?.seconds ?? 0, evals.at(-1)?.seconds ?? 0),
      heldOutLoss: evals.at(-1)?.loss ?? null,
      heldOutLossStart: evals.find((each) => each.step === 0)?.loss ?? null,
      best: best ? { step: best.step, loss: best.loss } : null,
      checkpoints: checkpointsOf(
        every.all(run, 'checkpoint').map((row) => CheckpointEvent.parse(JSON.parse(row.event))),
      ),
      device: deviceOf(run),
      memoryBytes: recent.length > 0 ? Math.max(...recent.map((step) => step.memoryBytes)) : null,
    };
  };

  const events: History['events'] = (run, after, limit) => {
    const { last, steps } = db
      .prepare<[string, number], { last: number; steps: number }>(
        `SELECT coalesce(max(seq), 0) AS last, coalesce(sum(type = 'step'), 0) AS steps FROM run_event WHERE run = ? AND seq > ?`,
      )
      .get(run, after) ?? { last: 0, steps: 0 };
    const keepEach = Math.max(1, Math.ceil(steps / limit));
    const rows = db
      .prepare<[{ run: string; after: number; each: number }], EventRow>(
        `SELECT seq, at, event FROM run_event WHERE run = :run AND seq > :after AND type <> 'step'
         UNION ALL
         SELECT seq, at, event FROM (
           SELECT seq, at, event, row_number() OVER (ORDER BY seq DESC) - 1 AS place
           FROM run_event WHERE run = :run AND seq > :after AND type = 'step'
         ) WHERE place % :each = 0
         ORDER BY seq`,
      )
      .all({ run, after, each: keepEach });
    return {
      last: Math.max(last, after),
      events: rows.map(({ seq, at, event }) => ({ seq, at, event: TrainEvent.parse(JSON.parse(event)) })),
    };
  };

  return {
    figures,
    events,
    epochAt(run, step) {
      const row = db
        .prepare<[string, number], { epoch: number }>(
          "SELECT json_extract(event, '$.epoch') AS epoch FROM run_event WHERE run = ? AND type = 'step' AND json_extract(event, '$.step') <= ? ORDER BY seq DESC LIMIT 1",
        )
        .get(run, step);
      // Rounded down: a millionth too much would be a step more.
      return row ? Math.floor(row.epoch * 1e6 + 1e-3) / 1e6 : 0;
    },
    rewind: (run, step) =>
      void db
        .prepare(
          "DELETE FROM run_event WHERE run = ? AND type IN ('step', 'eval', 'sample') AND json_extract(event, '$.step') > ?",
        )
        .run(run, step),
    pace(model) {
      const runs = db
        .prepare<[string], { id: string; recipe: string }>(
          'SELECT id, recipe FROM run WHERE model = ? AND recipe IS NOT NULL ORDER BY created_at DESC LIMIT 20',
        )
        .all(model)
        .flatMap(({ id, recipe }) => {
          const read = Recipe.safeParse(JSON.parse(recipe));
          return read.success ? [{ id, recipe: read.data, device: usedBy(id) }] : [];
        });
      return (wanted) => {
        const apart = ({ maxLength }: Recipe): number => Math.abs(Math.log(maxLength / wanted.maxLength));
        const alike = runs.filter(({ recipe }) => PACED_BY.every((key) => recipe[key] === wanted[key]));
        // What was left to Fettle comes to what it came to last.
        const device =
          wanted.device === 'auto' ? alike.find(({ recipe }) => recipe.device === 'auto')?.device : wanted.device;
        const there = alike.filter((run) => run.device === device).sort((a, b) => apart(a.recipe) - apart(b.recipe));
        for (const { id } of there) {
          const speed = middleSpeed(
            newest.all(id, 'step', RECENT).map((row) => StepEvent.parse(JSON.parse(row.event))),
          );
          if (speed !== null) return { tokensPerSecond: speed, run: id };
        }
        return null;
      };
    },
  };
}

/** The middle one of some steps' speeds: a few that other programs slowed down do not count. */
function middleSpeed(steps: readonly StepEvent[]): number | null {
  const speeds = steps.map(({ tokensPerSecond }) => tokensPerSecond).sort((a, b) => a - b);
  return speeds[speeds.length >> 1] ?? null;
}

/** Tokens over seconds of some steps, the newest first. */
function meanSpeed(steps: readonly StepEvent[]): number | null {
  if (steps.length === 0) return null;
  // The mean of the times a token, not of the speeds: slow steps take their share.
  const inverse = steps.reduce((sum, step) => sum + 1 / Math.max(step.tokensPerSecond, 1e-9), 0);
  return steps.length / inverse;
}

/** The checkpoints that are left, in order, from what was reported of them. */
export function checkpointsOf(events: readonly CheckpointEvent[]): Checkpoint[] {
  const kept = new Map<string, Checkpoint>();
  for (const { name, step, heldOutLoss, best, bytes, removed } of events) {
    for (const [key, each] of kept) kept.set(key, { ...each, last: false, best: best ? false : each.best });
    kept.delete(name);
    kept.set(name, { name, step, heldOutLoss, best, last: true, bytes });
    for (const gone of removed) kept.delete(gone);
  }
  return [...kept.values()];
}

/** Seconds left by the pace of the last steps, looks at held-out rows included; null before two steps. */
export function createPace(): (event: StepEvent) => number | null {
  const recent: { readonly step: number; readonly seconds: number }[] = [];
  return ({ step, steps, seconds }) => {
    recent.push({ step, seconds });
    if (recent.length > RECENT) recent.shift();
    const [first] = recent;
    if (!first || step <= first.step) return null;
    return ((seconds - first.seconds) / (step - first.step)) * Math.max(0, steps - step);
  };
}
