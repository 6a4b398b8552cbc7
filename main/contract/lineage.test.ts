/** @file Lineage: each run stands under what it was made from, whatever was deleted since. */
import { describe, expect, it } from 'vitest';
import type { Run } from './entities.ts';
import { lineageOf } from './lineage.ts';

const run = (number: number, of: Partial<Run> = {}): Run =>
  ({
    id: `letters-${number}`,
    number,
    model: 'small',
    modelName: 'Small',
    strategy: 'instruct',
    datasetName: 'Letters',
    step: 60,
    over: null,
    clonedFrom: null,
    recipe: { rank: 16 },
    ...of,
  }) as Run;
const runs = [
  run(1, { strategy: 'non-instruct' }),
  run(2, { over: { run: 'letters-1', checkpoint: 'step-000060' } }),
  run(3, { clonedFrom: 'letters-2' }),
  run(4, {
    recipe: {
      rank: 16,
      initAdapter: '/home/someone/projects/letters/runs/letters-1/checkpoints/step-000020',
    } as Run['recipe'],
  }),
  run(5),
  run(6, { clonedFrom: 'letters-9' }),
];
const drawn = (current: readonly string[]): string[] =>
  lineageOf(current, runs).map(({ title, depth, current: here }) => `${'  '.repeat(depth)}${title}${here ? ' *' : ''}`);

describe('lineage', () => {
  it('goes from the base over the stages to the run, and on to what was made from it', () => {
    expect(drawn(['letters-2'])).toEqual(['Small', '  Run 1', '    Run 2 *', '      Run 3']);
    expect(drawn(['letters-5'])).toEqual(['Small', '  Run 5 *']);
    expect(drawn(['letters-3', 'letters-5'])).toEqual(['Small', '  Run 1', '    Run 2', '      Run 3 *', '  Run 5 *']);
  });
  it('shows all that was made from a run, and knows a run by its adapter without naming the folder', () => {
    expect(drawn(['letters-1'])).toEqual(['Small', '  Run 1 *', '    Run 2', '      Run 3', '    Run 4']);
    expect(JSON.stringify(lineageOf(['letters-4'], runs))).not.toContain('someone');
  });
  it('says of what was deleted that it was', () => {
    expect(drawn(['letters-6'])).toEqual(['Small', '  letters-9', '    Run 6 *']);
    expect(lineageOf(['letters-6'], runs)[1]).toMatchObject({ kind: 'gone', note: 'deleted since' });
  });
});
