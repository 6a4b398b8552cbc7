/**
 * @file How long a run will take, measured: the first steps of its very recipe on its own first batches, in the process
 * that would train it. Nothing of them is kept but their times. The only writer of its table.
 */
import { createHash, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Dataset, Job, Model } from '../contract/entities.ts';
import { Recipe } from '../contract/recipe.ts';
import type { StepEvent, TrainEvent } from '../contract/training.ts';
import type { Core } from '../core/context.ts';
import type { Datasets } from '../datasets/index.ts';
import type { Models } from '../models/index.ts';
import type { Calibrated } from '../recipes/index.ts';
import type { Chosen } from '../recipes/devices.ts';
import type { TrainJob, TrainOutcome } from '../workers/train.ts';

/** What a calibration is about. */
export interface Tried {
  readonly project: string;
  readonly model: string;
  readonly dataset: string;
  readonly recipe: Recipe;
}
interface Row extends Omit<Tried, 'recipe'> {
  readonly id: string;
  readonly recipe: string;
  readonly key: string;
}
type Parts = Pick<Model, 'id' | 'hash'>;

export interface Calibrations {
  start(project: string, model: Model, dataset: Dataset, recipe: Recipe): Job;
  /** The newest for what decides the speed of a recipe, null where there is none. */
  of(model: Parts, dataset: Dataset): (recipe: Recipe) => Calibrated | null;
}

/** Steps over enough seconds, however quick they are; slow ones are not waited for much longer. */
const LEAST_STEPS = 4;
const SECONDS = { usual: 20, most: 90 };
/** Held-out tokens of a look: some seconds on two cores. */
const LOOK_TOKENS = 4000;
/** Raised where a calibration tells something else than before. */
const VERSION = 2;

/** Of a recipe what changes what is learned or how long, not how fast. */
const NO_MATTER: ReadonlySet<string> = new Set<keyof Recipe>([
  'version',
  'alpha',
  'useRslora',
  'loraPlusRatio',
  'learningRate',
  'schedule',
  'warmupRatio',
  'weightDecay',
  'weightDecayOn',
  'beta1',
  'beta2',
  'epsilon',
  'maxGradNorm',
  'epochs',
  'maxSteps',
  'shuffle',
  'seed',
  'evalEvery',
  'saveEvery',
  'earlyStopping',
  'keepCheckpoints',
]);

export function createCalibrations(
  core: Core,
  parts: {
    readonly models: Models;
    readonly datasets: Datasets;
    /** Throws MEMORY_SHORT where it does not fit now. */
    readonly checkMemory: (tried: Tried) => Promise<void>;
    /** Throws DEVICE_MISSING, RECIPE_INVALID. */
    readonly deviceFor: (tried: Tried) => Promise<Chosen>;
  },
): Calibrations {
  const { db } = core;
  const { models, datasets } = parts;
  // Those of a host that was killed.
  db.exec('DELETE FROM calibration WHERE result IS NULL');

  const keyOf = (model: Parts, dataset: Dataset, recipe: Recipe): string => {
    const matters = Object.entries(recipe)
      .filter(([name]) => !NO_MATTER.has(name))
      .sort(([a], [b]) => (a < b ? -1 : 1));
    // A home may be carried to another machine.
    const machine = [cpus()[0]?.model ?? process.arch, core.threads];
    return createHash('sha256')
      .update(JSON.stringify([VERSION, model.hash, dataset.hash, matters, machine]))
      .digest('hex');
  };

  core.jobs.handle('calibrate', async (control) => {
    const row = db.prepare<[string], Row>('SELECT * FROM calibration WHERE id = ?').get(control.job.subject);
    // A project that was deleted while this waited took the row along.
    if (!row) return 'cancelled';
    const tried: Tried = { ...row, recipe: Recipe.parse(JSON.parse(row.recipe)) };
    const folder = join(core.home.temporary, row.id);
    let cancelled = false;
    let kept = false;
    try {
      control.update({ state: 'running', stage: 'Preparing' });
      await parts.checkMemory(tried);
      const { device, tokens } = await parts.deviceFor(tried);
      const job: TrainJob = {
        run: row.id,
        folder,
        model: models.pathOf(row.model),
        prepared: models.preparedAt(row.model),
        modelName: models.show(row.model).name,
        under: [],
        held: [],
        rows: datasets.rowsFile(row.project, row.dataset),
        // The last look and checkpoint are those of the end.
        recipe: { ...tried.recipe, evalEvery: 0, saveEvery: 0, earlyStopping: 0 },
        device,
        deviceTokens: tokens,
        threads: core.threads,
        resume: false,
        continued: false,
        lookTokens: LOOK_TOKENS,
      };
      const watch = createWatch((stage, progress) => control.update({ stage, progress }));
      const worker = core.workers.run<TrainEvent, TrainOutcome>('train', job, (event) => {
        if (watch.see(event)) worker.ask('stop');
      });
      control.onAsk(() => {
        cancelled = true;
        worker.ask('cancel');
      });
      const outcome = await worker.result;
      if (cancelled || outcome.reason === 'paused' || outcome.reason === 'cancelled') return 'cancelled';
      const result = watch.result(outcome);
      db.transaction(() => {
        db.prepare('DELETE FROM calibration WHERE project = ? AND key = ? AND result IS NOT NULL').run(
          row.project,
          row.key,
        );
        db.prepare('UPDATE calibration SET result = ? WHERE id = ?').run(JSON.stringify(result), row.id);
      })();
      kept = true;
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    } finally {
      if (!kept) db.prepare('DELETE FROM calibration WHERE id = ?').run(row.id);
      await rm(folder, { recursive: true, force: true });
    }
  });

  return {
    start(project, model, dataset, recipe) {
      const id = `calibration-${randomUUID()}`;
      db.prepare(
        'INSERT INTO calibration (id, project, model, dataset, recipe, key, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ).run(id, project, model.id, dataset.id, JSON.stringify(recipe), keyOf(model, dataset, recipe), core.clock.now());
      const job = core.jobs.enqueue({
        kind: 'calibrate',
        project,
        subject: id,
        title: `Measuring how fast ${model.name} trains`,
      });
      // Cancelled before it began, it leaves nothing either.
      void core.jobs.settled(job.id).then(({ state }) => {
        if (state !== 'completed') db.prepare('DELETE FROM calibration WHERE id = ?').run(id);
        core.events.changed('calibration', id, project);
      });
      return job;
    },
    of: (model, dataset) => (recipe) => {
      const row = db
        .prepare<[string, string], { result: string }>(
          'SELECT result FROM calibration WHERE project = ? AND key = ? AND result IS NOT NULL',
        )
        .get(dataset.project, keyOf(model, dataset, recipe));
      return row ? (JSON.parse(row.result) as Calibrated) : null;
    },
  };
}

interface Watch {
  /** True once enough was seen. */
  see(event: TrainEvent): boolean;
  result(outcome: Exclude<TrainOutcome, { reason: 'paused' }>): Calibrated;
}

/** From what a training process reports, what its parts take. */
function createWatch(tell: (stage: string, progress: number | null) => void): Watch {
  const started = performance.now();
  const since = (): number => (performance.now() - started) / 1000;
  const steps: { readonly tokens: number; readonly seconds: number }[] = [];
  let [tokens, firstEnd, trained] = [0, 0, 0];
  /** Of the last of each: the first compiles, or shares the processor with what does. */
  const took = { look: 0, sample: 0, save: 0 };
  /** The end of what was told before. */
  let before = 0;

  function step(event: StepEvent): void {
    const own = event.tokens - tokens;
    steps.push({ tokens: own, seconds: own / event.tokensPerSecond });
    [tokens, trained] = [event.tokens, event.seconds];
    before = since();
    if (steps.length === 1) firstEnd = before;
  }
  function part(name: 'sample' | 'save'): void {
    const now = since();
    took[name] = now - before;
    before = now;
  }
  /** The first compiles, so where there are others it does not count. */
  const warm = (): typeof steps => (steps.length > 1 ? steps.slice(1) : steps);
  const total = (key: 'tokens' | 'seconds'): number => warm().reduce((sum, each) => sum + each[key], 0);

  return {
    see(event) {
      if (event.type === 'state' && event.stage !== undefined && steps.length === 0) tell(event.stage, null);
      if (event.type === 'eval') [took.look, before] = [event.seconds - trained, since()];
      if (event.type === 'sample') part('sample');
      if (event.type === 'checkpoint') part('save');
      if (event.type !== 'step') return false;
      step(event);
      const [count, seconds] = [steps.length - 1, total('seconds')];
      tell(
        count === 0 ? 'The first step' : `Measured ${count} ${count === 1 ? 'step' : 'steps'}`,
        Math.min(0.95, count / LEAST_STEPS, seconds / SECONDS.usual),
      );
      return (count >= LEAST_STEPS && seconds >= SECONDS.usual) || (count >= 1 && seconds >= SECONDS.most);
    },
    result({ pass, preparingSeconds }) {
      const tokensPerSecond = total('tokens') / total('seconds');
      // What the first look, text and step took beyond others is of the start; what is kept now is not made again.
      const usual = steps[0]!.tokens / tokensPerSecond + took.look + took.sample;
      return {
        steps: warm().length,
        tokensPerSecond,
        startSeconds: Math.max(0, firstEnd - usual - preparingSeconds),
        lookSeconds: took.look / pass.lookedAt,
        sampleSeconds: took.sample,
        saveSeconds: took.save,
        rows: pass.rows,
        tokens: pass.tokens,
      };
    },
  };
}
