/** @file What is offered to compare: a run that saved nothing must not be among it, and the pair that people expect comes first. */
import { describe, expect, it } from 'vitest';
import type { Model, Run } from '../../../main/contract/entities.ts';
import { dataFor, runOf, targetsOf, usualPair } from './targets.ts';

const checkpoint = (step: number, best: boolean): Run['checkpoints'][number] => ({
  name: `step-${step}`,
  step,
  heldOutLoss: 1,
  best,
  last: !best,
  bytes: 1,
});
const run = (number: number, checkpoints: Run['checkpoints']): Run =>
  ({ id: `letters-${number}`, number, model: 'small', checkpoints, best: { step: 10, loss: 1 } }) as Run;
const model = (id: string): Model => ({ id, name: id, kind: { value: 'instruct', evidence: [] } }) as unknown as Model;
const runs = [run(1, [checkpoint(10, true), checkpoint(20, false)]), run(2, []), run(3, [checkpoint(10, true)])];

describe('targets', () => {
  it('name runs that learned something, newest first, then their base', () => {
    expect(targetsOf(runs, [model('large'), model('small')]).map(({ target }) => target)).toEqual([
      'letters-3',
      'letters-1',
      'small',
      'large',
    ]);
  });
  it('name other checkpoints only where they are asked for', () => {
    const all = targetsOf(runs, [], { checkpoints: true }).map(({ target }) => target);
    expect(all).toContain('letters-1@step-20');
    expect(all).not.toContain('letters-1@step-10');
  });
  it('pair the newest run with its base, if that is still here', () => {
    expect(usualPair(runs, [model('small')])).toEqual(['small', 'letters-3']);
    expect(usualPair(runs, [model('large')])).toBeNull();
    expect(usualPair([run(2, [])], [model('small')])).toBeNull();
  });
  it('are measured on what the first run among them learned from', () => {
    const some = [
      { ...run(1, []), dataset: 'old' },
      { ...run(2, []), dataset: 'new' },
    ];
    expect(dataFor(['small', 'letters-1@step-20', 'letters-2'], some)).toBe('old');
    expect(dataFor(['small'], some)).toBeNull();
  });
  it('know the run of a checkpoint', () => {
    expect(runOf('letters-1@step-20', runs)?.number).toBe(1);
    expect(runOf('small', runs)).toBeUndefined();
  });
});
