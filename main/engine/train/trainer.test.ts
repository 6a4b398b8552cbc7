/** @file The loop against a model whose loss is known by hand: schedules, patience, checkpoints, how a run ends and goes on. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Recipe } from '../../contract/recipe.ts';
import type { TrainEvent } from '../../contract/training.ts';
import type { Batch, Example, ParameterSet, Trainable } from '../types.ts';
import { listCheckpoints, savedRounding } from './checkpoint.ts';
import { learningRateAt } from './schedule.ts';
import { train, type TrainOptions } from './trainer.ts';

/** One weight w; every labelled token costs (w - target)^2. On unseen examples the target lies elsewhere. */
class Bowl implements Trainable {
  readonly parameters: ParameterSet = {
    entries: [{ name: 'layer.lora_A.weight', shape: [1], offset: 0, size: 1 }],
    values: new Float32Array([0]),
    gradients: new Float32Array(1),
  };
  readonly rates: number[] = [];
  target = 1;
  unseen = 1;
  steps = 0;
  onStep: (step: number) => void = () => undefined;
  async accumulate(batch: Batch, weight: number): Promise<number> {
    this.onStep(++this.steps);
    const away = this.parameters.values[0]! - this.target;
    this.parameters.gradients[0]! += 2 * away * weight * batch.labelled;
    return away * away * batch.labelled;
  }
  async losses(batch: Batch): Promise<Float32Array> {
    return new Float32Array(batch.labelled).fill((this.parameters.values[0]! - this.unseen) ** 2);
  }
}

const example = (length: number, first = 0): Example => ({
  ids: Int32Array.from({ length }, (_, i) => first + i),
  loss: new Uint8Array(length).fill(1),
});
const rows = (count: number): Example[] => Array.from({ length: count }, (_, i) => example(8, i * 10));

let folder: string;
let bowl: Bowl;
let events: TrainEvent[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fettle-trainer-'));
  bowl = new Bowl();
  events = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const base = {
  strategy: 'instruct',
  learningRate: 0.05,
  schedule: 'constant',
  warmupRatio: 0,
  maxSteps: 20,
  batchSize: 1,
  maxLength: 16,
  packing: false,
  evalEvery: 0,
  saveEvery: 0,
} as const;

const run = (recipe: Partial<Recipe> = {}, options: Partial<TrainOptions> = {}): ReturnType<typeof train> =>
  train({
    model: bowl,
    train: rows(6),
    heldOut: rows(2),
    recipe: Recipe.parse({ ...base, ...recipe }),
    runId: 'r',
    checkpointDir: folder,
    onEvent: (event) => events.push(event),
    control: { requested: () => 'none' },
    clock: () => 0,
    memory: () => 0,
    ...options,
  });
const of = <T extends TrainEvent['type']>(type: T): Extract<TrainEvent, { type: T }>[] =>
  events.filter((event) => event.type === type) as never;

describe('the schedule', () => {
  const rates = (schedule: Recipe['schedule'], warmupRatio: number): number[] =>
    [0, 1, 2, 6, 9].map((step) => learningRateAt(step, 10, { schedule, warmupRatio, learningRate: 1 }));

  it('climbs from nothing and comes down as transformers has it', () => {
    // get_*_schedule_with_warmup(optimizer, 2, 10): the lambdas by hand.
    const wave = (step: number): number => 0.5 * (1 + Math.cos((Math.PI * (step - 2)) / 8));
    expect(rates('cosine', 0.2)).toEqual([0, 0.5, 1, wave(6), wave(9)]);
    expect(rates('linear', 0.2)).toEqual([0, 0.5, 1, 0.5, 0.125]);
    expect(rates('constant', 0.2)).toEqual([0, 0.5, 1, 1, 1]);
  });

  it('starts at its peak without warm-up, and survives a warm-up that never ends', () => {
    expect(rates('cosine', 0)[0]).toBe(1);
    expect(rates('linear', 1).every((rate) => rate >= 0 && rate < 1)).toBe(true);
  });
});

describe('a run', () => {
  it('counts steps, tokens and labels, and ends where the maths says', async () => {
    const { result } = await run({ maxSteps: 6 });
    expect(result).toMatchObject({ state: 'completed', reason: 'finished', steps: 6, tokens: 48 });
    expect(of('step').at(-1)).toMatchObject({ step: 6, epoch: 1, labelledTokens: 42 });
    expect(of('eval').map(({ step }) => step)).toEqual([0, 6]);
    // AdamW with a steady gradient sign moves by the rate each step.
    expect(bowl.parameters.values[0]).toBeCloseTo(0.3, 3);
  });

  it('keeps what its base was rounded by, which counts where it looked at rows', async () => {
    expect(await savedRounding(folder)).toBeUndefined();
    const unseen = { rows: [], peaks: new Map<string, Float32Array>(), largest: 127 };
    await run({ maxSteps: 1 }, { rounding: unseen });
    expect(await savedRounding(folder)).toBeUndefined();
    const rounding = { ...unseen, rows: [Int32Array.of(3, 1, 4)] };
    const other = join(folder, 'other');
    await run({ maxSteps: 1 }, { rounding, checkpointDir: other });
    expect(await savedRounding(other)).toEqual(rounding);
  });

  it('has the same gradient whatever its micro-batches', async () => {
    await run({ batchSize: 6, maxSteps: 3 });
    const whole = bowl.parameters.values[0];
    rmSync(folder, { recursive: true });
    bowl = new Bowl();
    await run({ batchSize: 2, gradientAccumulation: 3, maxSteps: 3 });
    expect(bowl.parameters.values[0]).toBe(whole);
  });

  it('ends when nothing is gained for as long as its patience, and hands over the best', async () => {
    bowl.unseen = 0.2;
    const { result } = await run({ evalEvery: 1, earlyStopping: 3, saveEvery: 1 });
    expect(result).toMatchObject({ reason: 'early-stopped', best: { step: 4 }, checkpoint: 'step-000004', steps: 7 });
    expect(
      of('checkpoint')
        .filter(({ best }) => best)
        .map(({ step }) => step),
    ).toEqual([0, 1, 2, 3, 4]);
  });

  it('keeps the best, the last, and as many others as it was told', async () => {
    bowl.unseen = 0.2;
    await run({ evalEvery: 1, saveEvery: 1, keepCheckpoints: 2, maxSteps: 9 });
    const { checkpoints } = await listCheckpoints(folder);
    expect(checkpoints.map(({ step }) => step)).toEqual([4, 7, 8, 9]);
  });

  it('that only made things worse says that the start was best', async () => {
    bowl.unseen = -1;
    const { result } = await run({ saveEvery: 5 });
    expect(result).toMatchObject({ best: { step: 0 }, checkpoint: 'step-000000' });
  });

  it('stops, pauses or is cancelled where it is asked', async () => {
    let asked: 'none' | 'stop' | 'pause' | 'cancel' = 'none';
    const control = { requested: () => asked };
    bowl.onStep = (step) => (asked = step === 3 ? 'stop' : 'none');
    expect((await run({}, { control })).result).toMatchObject({ reason: 'stopped', state: 'completed', steps: 3 });
    rmSync(folder, { recursive: true });
    bowl = new Bowl();
    asked = 'none';
    bowl.onStep = (step) => (asked = step === 3 ? 'pause' : 'none');
    expect(await run({}, { control })).toMatchObject({ state: 'paused', result: null });
    expect(readdirSync(folder)).toEqual(['step-000003']);
    rmSync(folder, { recursive: true });
    bowl = new Bowl();
    asked = 'none';
    bowl.onStep = (step) => (asked = step === 3 ? 'cancel' : 'none');
    expect((await run({}, { control })).result).toMatchObject({ state: 'cancelled', steps: 2 });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that diverges says so and leaves what was saved', async () => {
    bowl.onStep = (step) => (bowl.target = step > 4 ? Number.NaN : 1);
    await expect(run({ saveEvery: 2 })).rejects.toMatchObject({
      code: 'TRAINING_DIVERGED',
      details: { step: 4, checkpoint: 'step-000004' },
    });
  });

  it('whose model gives no numbers from the first does not blame the learning rate', async () => {
    bowl.unseen = Number.NaN;
    await expect(run()).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
    bowl = new Bowl();
    bowl.target = Number.NaN;
    await expect(run({}, { heldOut: [] })).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
  });

  it('whose unseen answers all lie beyond maxLength is told to raise it', async () => {
    const late = { ...example(20), loss: Uint8Array.from({ length: 20 }, (_, i) => Number(i >= 16)) };
    await expect(run({}, { heldOut: [late] })).rejects.toMatchObject({
      code: 'DATA_EMPTY',
      hint: expect.stringContaining('Raise maxLength') as unknown,
    });
    await expect(run({}, { heldOut: [{ ...late, loss: new Uint8Array(20) }] })).rejects.toMatchObject({
      code: 'DATA_EMPTY',
      hint: 'Hold out more rows.',
    });
  });
});

describe('going on', () => {
  const options = { evalEvery: 5, saveEvery: 4, schedule: 'cosine', maxSteps: 14 } as const;

  it('ends with the bits of a run that never stopped', async () => {
    await run(options);
    const straight = bowl.parameters.values[0];
    rmSync(folder, { recursive: true });
    bowl = new Bowl();
    bowl.onStep = (step) => {
      if (step === 11) throw new Error('the power went');
    };
    await expect(run(options)).rejects.toThrow('power');
    bowl = new Bowl();
    const { result } = await run(options, { resume: true });
    expect(bowl.parameters.values[0]).toBe(straight);
    expect(result).toMatchObject({ steps: 14, tokens: 14 * 8 });
    expect(
      of('step')
        .map(({ step }) => step)
        .slice(-6),
    ).toEqual([9, 10, 11, 12, 13, 14]);
  });

  it('passes over a damaged checkpoint to the one before, and says so', async () => {
    await run({ saveEvery: 5, keepCheckpoints: 9 });
    truncateSync(join(folder, 'step-000020', 'optimizer.safetensors'), 10);
    appendFileSync(join(folder, 'step-000015', 'state.json'), ' ');
    bowl = new Bowl();
    await run({ saveEvery: 5, keepCheckpoints: 9, maxSteps: 12 }, { resume: true });
    const said = of('state').map(({ stage }) => stage);
    for (const name of ['step-000020', 'step-000015'])
      expect(said).toContain(`The checkpoint ${name} is damaged and was removed; going on from step-000010.`);
    expect(existsSync(join(folder, 'step-000020'))).toBe(false);
    expect(of('step').at(-1)?.step).toBe(12);
  });

  it('where all checkpoints are damaged is refused, and nothing is removed', async () => {
    await run();
    truncateSync(join(folder, 'step-000020', 'adapter_model.safetensors'), 3);
    await expect(run({}, { resume: true })).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' });
    expect(readdirSync(folder)).toEqual(['step-000020']);
  });

  it('with another recipe, other data, or into a folder in use is refused', async () => {
    await run();
    const refused = { code: 'RUN_STATE' };
    await expect(run()).rejects.toMatchObject(refused);
    await expect(run({ learningRate: 0.06 }, { resume: true })).rejects.toMatchObject(refused);
    await expect(run({}, { resume: true, train: rows(7) })).rejects.toMatchObject(refused);
  });

  it('with other threads, lanes, device or Fettle says so', async () => {
    const before = { fettle: '0.1.0', threads: 2, lanes: 2, device: 'cpu' };
    const { fettle: _, lanes: __, device: ___, ...older } = before;
    const said = async (
      environment: Readonly<Record<string, string | number>>,
      maxSteps: number,
    ): Promise<string[]> => {
      events.length = 0;
      await run({ maxSteps }, { resume: true, environment });
      return of('state').flatMap(({ stage }) => (stage?.startsWith('Going on with other') ? [stage] : []));
    };
    await run({ maxSteps: 2 }, { environment: older });
    // Nobody knows how many lanes it had.
    expect(await said(before, 3)).toEqual([
      'Going on with other fettle than before: the last digits of the results may differ.',
    ]);
    expect(await said(before, 4)).toEqual([]);
    expect(await said({ ...before, lanes: 1 }, 5)).toEqual([
      'Going on with other lanes than before: the last digits of the results may differ.',
    ]);
    const other = { ...before, fettle: '0.2.0', lanes: 1, device: 'webgpu' };
    expect(await said(other, 6)).toEqual([
      'Going on with other fettle, device than before: the last digits of the results may differ.',
    ]);
  });

  it('further than planned keeps the optimiser and takes the longer schedule', async () => {
    await run({ maxSteps: 5, schedule: 'linear' });
    await run({ maxSteps: 10, schedule: 'linear' }, { resume: true });
    const rates = of('step').map(({ learningRate }) => learningRate);
    expect(rates).toHaveLength(10);
    expect(rates[4]).toBeCloseTo(0.01);
    expect(rates[5]).toBeCloseTo(0.025);
  });
});
