/** @file The training loop, to be read from top to bottom: measure, save, step; and how a run ends. */
import { FettleError } from '../../contract/errors.ts';
import type { Recipe } from '../../contract/recipe.ts';
import type { ResultEvent, TrainEvent } from '../../contract/training.ts';
import type { Rounding } from '../quantise/freeze.ts';
import type { Example, Trainable } from '../types.ts';
import { AdamW } from './adamw.ts';
import { BatchPlan, type DataReport } from './batches.ts';
import { bestOnDisk, listCheckpoints, pruneCheckpoints, saveCheckpoint } from './checkpoint.ts';
import { evaluate } from './evaluate.ts';
import { begin } from './resume.ts';
import { learningRateAt } from './schedule.ts';

export interface TrainOptions {
  readonly model: Trainable;
  readonly train: readonly Example[];
  /** May be empty: then nothing is measured and the last checkpoint is the one to use. */
  readonly heldOut: readonly Example[];
  readonly recipe: Recipe;
  readonly runId: string;
  /** The run's checkpoints/; made where it is missing. */
  readonly checkpointDir: string;
  /** Go on from the newest whole checkpoint, or begin afresh where there is none. Without it the folder must hold none. */
  readonly resume?: boolean;
  /** With resume: the run had ended, by itself too, and goes on because a person asked for more. */
  readonly continued?: boolean;
  /** Checkpoints that are never removed. */
  readonly held?: readonly string[];
  readonly onEvent: (event: TrainEvent) => void;
  /** Asked between steps, and for `cancel` between batches. */
  readonly control: { requested(): 'none' | 'pause' | 'stop' | 'cancel' };
  /** Texts to watch the model learn by: asked for at the start, every so many steps (0: never in between), and at the end. */
  readonly sample?: {
    readonly every: number;
    readonly generate: (step: number) => Promise<readonly { readonly prompt: string; readonly text: string }[]>;
  };
  /** Milliseconds; only differences count. */
  readonly clock: () => number;
  /** Resident bytes of this process. */
  readonly memory: () => number;
  /** What else decides the last bits of the results: threads, CPU, versions. Kept in checkpoints, compared on resuming. */
  readonly environment?: Readonly<Record<string, string | number>>;
  /** PEFT's adapter_config.json, written into each checkpoint. */
  readonly adapterConfig?: Readonly<Record<string, unknown>>;
  /** What an int8 base was rounded by, kept in each checkpoint. */
  readonly rounding?: Rounding | undefined;
}

export interface TrainOutcome {
  readonly state: 'completed' | 'paused' | 'cancelled';
  /** Also emitted as the last event. Null where the run is paused: it has no result yet. */
  readonly result: ResultEvent | null;
  readonly data: DataReport;
}

/**
 * Trains until the last step, or until patience or a person ends it.
 *
 * Held-out loss is measured at step 0, every evalEvery steps and at the end; the lowest so far is the best, and step 0
 * counts: a run that only made things worse says so. Checkpoints are written every saveEvery steps, at every new best,
 * at a pause and at the end; with saveEvery 0 not at step 0.
 *
 * Resuming is bit-identical: a run that was killed or paused and goes on from its last checkpoint, with the same
 * environment, has the weights of one that never stopped. Events after that checkpoint are emitted again.
 *
 * Continuing: resuming a finished run with more epochs or steps keeps the optimiser's state and takes the schedule of
 * the new length from here on, so a cosine that had come down goes up again to where the longer one stands; patience
 * starts anew. That differs from a run that was planned that long from the start.
 *
 * `stop` ends at the next step boundary with a last measurement and a checkpoint, as completed. `pause` writes a
 * checkpoint and nothing else. `cancel` writes nothing more. Gradients are those of the mean loss over all labelled
 * tokens of a step, whatever its batches (transformers' num_items_in_batch).
 *
 * Throws DATA_EMPTY, TRAINING_DIVERGED (earlier checkpoints stand), DISK_FULL, and what `begin` throws.
 */
export async function train(options: TrainOptions): Promise<TrainOutcome> {
  const { model, recipe, control, onEvent, heldOut, sample } = options;
  const { parameters } = model;
  const plan = new BatchPlan(options.train, recipe);
  const optimizer = model.optimizer?.(recipe) ?? new AdamW(parameters, recipe);
  const stage = (text: string): void => onEvent({ type: 'state', state: 'running', stage: text });
  for (const sentence of describeData(plan.report, recipe)) stage(sentence);

  const { resume = false, continued = false, environment = {} } = options;
  const progress = await begin(
    { ...options, resume, continued, environment, notice: stage },
    plan,
    parameters,
    optimizer,
  );
  await optimizer.write();
  const { steps } = progress;
  const lap = stopwatch(options.clock);
  /** Came here by a step or by a fresh start, not by resuming. */
  let arrived = progress.step === 0;
  /** Something happened that no checkpoint holds. */
  let unsaved = arrived;
  stage('Training');

  for (;;) {
    const { step } = progress;
    const asked = control.requested();
    if (asked === 'cancel') return end('cancelled', 'cancelled');

    // Measure.
    const scheduled = step === 0 || (recipe.evalEvery > 0 && step % recipe.evalEvery === 0);
    const over = step >= steps || asked === 'stop';
    let improved = false;
    if (heldOut.length > 0 && asked !== 'pause' && progress.heldOut?.step !== step && (scheduled || over)) {
      stage('Measuring the loss on unseen examples');
      const measured = await measure();
      if (measured === 'abandoned') continue;
      improved = measured === 'improved';
      unsaved = true;
      if (!over) stage('Training');
    }
    const outOfPatience = recipe.earlyStopping > 0 && progress.evaluationsWithoutGain >= recipe.earlyStopping;
    const ending = over || outOfPatience;

    // Show.
    const look = step === 0 || (sample !== undefined && sample.every > 0 && step % sample.every === 0);
    if (sample && asked !== 'pause' && arrived && (ending || look)) {
      await optimizer.read();
      for (const text of await sample.generate(step)) onEvent({ type: 'sample', step, ...text });
    }

    // Save.
    const saveDue = recipe.saveEvery > 0 && step % recipe.saveEvery === 0;
    const newBest = improved && (step > 0 || recipe.saveEvery > 0);
    if (unsaved && (saveDue || newBest || ending || asked === 'pause')) await save();
    if (asked === 'pause') {
      onEvent({ type: 'state', state: 'paused' });
      return { state: 'paused', result: null, data: plan.report };
    }
    if (ending) return end('completed', step >= steps ? 'finished' : over ? 'stopped' : 'early-stopped');

    // Step.
    lap.next();
    const batches = plan.step(plan.position(step));
    const labelled = batches.reduce((sum, batch) => sum + batch.labelled, 0);
    const tokens = batches.reduce((sum, batch) => sum + batch.tokens, 0);
    await optimizer.zero();
    let loss = 0;
    for (const [i, batch] of batches.entries()) {
      loss += (await model.accumulate(batch, 1 / labelled, step * recipe.gradientAccumulation + i)) / labelled;
      if (control.requested() === 'cancel') return end('cancelled', 'cancelled');
    }
    const gradNorm = await optimizer.clip(recipe.maxGradNorm);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) throw await diverged(loss);
    const learningRate = learningRateAt(step, steps, recipe);
    await optimizer.step(learningRate);

    // Report.
    const seconds = lap.next();
    progress.step++;
    progress.position = plan.position(progress.step);
    progress.tokens += tokens;
    progress.labelledTokens += labelled;
    progress.stepSeconds += seconds;
    const memoryBytes = observeMemory();
    arrived = unsaved = true;
    onEvent({
      type: 'step',
      step: progress.step,
      steps,
      epoch: progress.step / plan.stepsPerEpoch,
      loss,
      learningRate,
      gradNorm,
      tokens: progress.tokens,
      labelledTokens: progress.labelledTokens,
      tokensPerSecond: perSecond(tokens, seconds),
      memoryBytes,
      seconds: progress.seconds + lap.total(),
    });
  }

  async function measure(): Promise<'improved' | 'no gain' | 'abandoned'> {
    const abandon = (): boolean => ['cancel', 'pause'].includes(control.requested());
    const evaluation = await evaluate(model, heldOut, { ...recipe, abandon });
    if (!evaluation) return 'abandoned';
    const { loss, perplexity, tokens } = evaluation;
    if (!Number.isFinite(loss)) throw await diverged(loss);
    const { step } = progress;
    const best = !progress.best || loss < progress.best.loss;
    progress.heldOut = { step, loss };
    if (step === 0) progress.heldOutStart = loss;
    if (best) progress.best = { step, loss };
    progress.evaluationsWithoutGain = best ? 0 : progress.evaluationsWithoutGain + 1;
    observeMemory();
    onEvent({ type: 'eval', step, loss, perplexity, tokens, best, seconds: progress.seconds + lap.total() });
    return best ? 'improved' : 'no gain';
  }

  async function save(): Promise<void> {
    const state = { ...progress, seconds: progress.seconds + lap.total() };
    await optimizer.read();
    const { step, name, heldOutLoss, bytes } = await saveCheckpoint(
      options.checkpointDir,
      state,
      parameters,
      optimizer,
      options,
    );
    const removed = await pruneCheckpoints(options.checkpointDir, recipe.keepCheckpoints, options.held);
    unsaved = false;
    onEvent({ type: 'checkpoint', step, name, heldOutLoss, best: progress.best?.step === step, bytes, removed });
  }

  function observeMemory(): number {
    const bytes = options.memory();
    progress.peakMemoryBytes = Math.max(progress.peakMemoryBytes, bytes);
    return bytes;
  }

  async function diverged(loss: number): Promise<FettleError> {
    if (progress.step === 0 && !Number.isFinite(loss))
      return new FettleError(
        'MODEL_INCOMPLETE',
        'The model gives no numbers before it has learned anything: its files, or the adapter that it starts from, hold values that are none.',
        'Get the files again: they may be damaged. Another tool that reads them will say the same.',
      );
    const checkpoint = (await listCheckpoints(options.checkpointDir)).checkpoints.at(-1)?.name ?? null;
    return new FettleError(
      'TRAINING_DIVERGED',
      `Training diverged after step ${progress.step}: the loss or its gradient is no longer a number.`,
      `Lower the learning rate (now ${recipe.learningRate}).${checkpoint ? ` The checkpoint ${checkpoint} is safe.` : ''}`,
      { details: { step: progress.step, checkpoint } },
    );
  }

  async function end(
    state: 'completed' | 'cancelled',
    reason: 'finished' | 'early-stopped' | 'stopped' | 'cancelled',
  ): Promise<TrainOutcome> {
    const { checkpoints } = await listCheckpoints(options.checkpointDir);
    const result: ResultEvent = {
      type: 'result',
      run: options.runId,
      state,
      steps: progress.step,
      tokens: progress.tokens,
      tokensPerSecond: perSecond(progress.tokens, progress.stepSeconds),
      heldOutLoss: progress.heldOut?.loss ?? null,
      heldOutLossStart: progress.heldOutStart,
      best: progress.best,
      checkpoint: bestOnDisk(checkpoints)?.name ?? null,
      peakMemoryBytes: progress.peakMemoryBytes,
      seconds: progress.seconds + lap.total(),
      reason,
    };
    onEvent(result);
    return { state, result, data: plan.report };
  }
}

/** What the data lost to maxLength, in plain sentences; none where nothing was lost. */
function describeData({ examples, truncated, dropped }: DataReport, { maxLength }: Recipe): string[] {
  const sentences: string[] = [];
  if (truncated > 0)
    sentences.push(`${truncated} of ${examples} examples are longer than ${maxLength} tokens and were cut`);
  if (dropped > 0)
    sentences.push(`${dropped} of ${examples} examples have no tokens left to learn from and were left out`);
  return sentences;
}

interface Stopwatch {
  /** Seconds since the last call. */
  next(): number;
  /** Seconds since the start. */
  total(): number;
}

function stopwatch(clock: () => number): Stopwatch {
  const start = clock();
  let last = start;
  return {
    next() {
      const now = clock();
      const seconds = (now - last) / 1000;
      last = now;
      return seconds;
    },
    total: () => (clock() - start) / 1000,
  };
}

const perSecond = (count: number, seconds: number): number => (seconds > 0 ? count / seconds : 0);
