/** @file What a run reported, as columns that charts draw. Pure: events in, columns out. */
import type {
  CheckpointEvent,
  DeviceEvent,
  EvalEvent,
  JobState,
  ResultEvent,
  SampleEvent,
  StepEvent,
  TrainEvent,
} from '../../main/contract/training.ts';

export type XAxis = 'step' | 'tokens' | 'seconds';
const COLUMNS = [
  'step',
  'tokens',
  'seconds',
  'loss',
  'learningRate',
  'gradNorm',
  'tokensPerSecond',
  'memoryBytes',
] as const;
export type Column = (typeof COLUMNS)[number];

export class RunSeries {
  readonly columns: Readonly<Record<Column, number[]>> = {
    step: [],
    tokens: [],
    seconds: [],
    loss: [],
    learningRate: [],
    gradNorm: [],
    tokensPerSecond: [],
    memoryBytes: [],
  };
  evals: EvalEvent[] = [];
  checkpoints: CheckpointEvent[] = [];
  samples: SampleEvent[] = [];
  device: DeviceEvent | undefined;
  last: StepEvent | undefined;
  state: { readonly state: JobState; readonly stage: string } | undefined;
  result: ResultEvent | undefined;

  add(event: TrainEvent): void {
    if (event.type === 'state') {
      this.state = { state: event.state, stage: event.stage ?? '' };
      return;
    }
    if (event.type === 'result') {
      this.result = event;
      return;
    }
    if (event.type === 'device') {
      this.device = event;
      return;
    }
    this.#rewind(event);
    if (event.type === 'step') {
      for (const column of COLUMNS) this.columns[column].push(event[column]);
      this.last = event;
      this.result = undefined;
    } else if (event.type === 'eval') {
      if (event.best) this.evals = this.evals.map((each) => ({ ...each, best: false }));
      this.evals.push(event);
    } else if (event.type === 'sample') this.samples.push(event);
    else {
      this.checkpoints = this.checkpoints.filter(({ name }) => !event.removed.includes(name));
      if (event.best) this.checkpoints = this.checkpoints.map((each) => ({ ...each, best: false }));
      this.checkpoints.push(event);
    }
  }

  /** A resumed run goes on from its last checkpoint and tells again what came after it: the later telling counts. */
  #rewind(event: StepEvent | EvalEvent | SampleEvent | CheckpointEvent): void {
    const { step } = event;
    if (event.type === 'step') {
      const steps = this.columns.step;
      if (steps.length === 0 || step > steps.at(-1)!) return;
      const keep = steps.findIndex((each) => each >= step);
      for (const column of COLUMNS) this.columns[column].length = keep;
      this.evals = this.evals.filter((each) => each.step < step);
      this.checkpoints = this.checkpoints.filter((each) => each.step < step);
      this.samples = this.samples.filter((each) => each.step < step);
    } else if (event.type === 'eval') this.evals = this.evals.filter((each) => each.step < step);
    else if (event.type === 'checkpoint') this.checkpoints = this.checkpoints.filter((each) => each.step < step);
    else this.samples = this.samples.filter((each) => each.step !== step || each.prompt !== event.prompt);
  }

  /** Where a step lies on an axis; between two kept steps, the earlier. */
  place(step: number, axis: XAxis): number {
    if (axis === 'step') return step;
    const steps = this.columns.step;
    let low = 0;
    let high = steps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle]! <= step) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : this.columns[axis][low - 1]!;
  }

  get best(): EvalEvent | undefined {
    return this.evals.findLast((each) => each.best);
  }
}

/** Exponential moving average whose start is not pulled to zero (Kingma and Ba 2015, section 3). */
export function smooth(values: readonly number[], weight: number): number[] {
  let average = 0;
  let scale = 0;
  return values.map((value) => {
    average = weight * average + (1 - weight) * value;
    scale = weight * scale + (1 - weight);
    return average / scale;
  });
}
