/** @file Recommended recipes: what follows from strategy, data, model and memory, what is questioned, what is guarded. */
import { describe, expect, it } from 'vitest';
import type { Plan } from '../contract/entities.ts';
import { planRecipe, type DataSize, type RecipeContext } from './index.ts';

const GB = 1e9;
const model: RecipeContext['model'] = {
  name: 'Small',
  parameters: 135e6,
  layers: 30,
  hiddenSize: 576,
  vocabSize: 49152,
  modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  contextLength: 2048,
  kind: { value: 'instruct', evidence: [] },
  hasChatTemplate: true,
};
const base: RecipeContext['model'] = { ...model, kind: { value: 'base', evidence: [] }, hasChatTemplate: false };
const pairs: DataSize = {
  prose: false,
  trainRows: 240,
  heldOutRows: 30,
  trainTokens: 40_000,
  heldOutTokens: 5000,
  usualLength: 250,
};
const prose: DataSize = { ...pairs, prose: true, trainRows: 20, trainTokens: 100_000 };

function plan(
  given: Partial<RecipeContext>,
  set: Record<string, unknown> = {},
  freeMemoryBytes = 16 * GB,
): Pick<Plan, 'recipe' | 'reasons' | 'questions' | 'guards' | 'estimate'> {
  const strategy = given.data?.prose ? 'non-instruct' : 'instruct';
  const machine = { freeMemoryBytes, freeDiskBytes: 100 * GB, tokensPerSecond: {} };
  return planRecipe({ strategy, model, data: pairs, threads: 2, speeds: null, ...given }, machine, {
    strategy,
    ...set,
  });
}

describe('a recommended recipe', () => {
  it('is for all linear layers of the model, by the names that they have there, and for no others', () => {
    const gpt2 = { ...model, modules: ['c_attn', 'c_proj', 'c_fc'] };
    expect(plan({ model: gpt2 }).recipe.targetModules).toEqual(gpt2.modules);
    expect(plan({ model: gpt2 }, { targetModules: 'all-linear' }).recipe.targetModules).toEqual(gpt2.modules);
    expect(plan({ model: gpt2 }, { targetModules: 'c_attn' }).recipe.targetModules).toEqual(['c_attn']);
    expect(() => plan({ model: gpt2 }, { targetModules: 'c_attn,q_proj' })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID', hint: expect.stringContaining('c_fc') as unknown }),
    );
  });

  it('has more rank for more data, and twice the rank as alpha', () => {
    const ranks = [pairs, { ...pairs, trainRows: 20_000 }, prose, { ...prose, trainTokens: 5e6 }].map((data) => {
      const { rank, alpha } = plan({ data }).recipe;
      expect(alpha).toBe(2 * rank);
      return rank;
    });
    expect(ranks).toEqual([16, 32, 32, 64]);
  });

  it('says why and what is usual for every value', () => {
    const { recipe, reasons } = plan({ data: prose });
    for (const key of Object.keys(recipe).filter((each) => each !== 'version'))
      expect(reasons[key], key).toMatchObject({
        reason: expect.any(String) as unknown,
        usual: expect.any(String) as unknown,
      });
  });

  it('reads shorter rows where memory is short, and says so', () => {
    const roomy = plan({ data: prose });
    const tight = plan({ data: prose }, {}, 1.9 * GB);
    expect(tight.recipe.maxLength).toBeLessThan(roomy.recipe.maxLength);
    expect(tight.estimate.fits).toBe(true);
    expect(tight.reasons['maxLength']?.reason).toContain('1.90 GB');
    expect(plan({ data: prose }, { maxLength: 512 }, 1.9 * GB).recipe.maxLength).toBe(512);
  });

  it('rehearses where an instruct model reads text, and nowhere else', () => {
    expect(plan({ data: prose }).recipe.rehearsal).toBe(0.05);
    expect(plan({ data: prose, model: base }).recipe.rehearsal).toBe(0);
    expect(plan({}).recipe.rehearsal).toBe(0);
    expect(plan({ data: prose }).estimate.rehearsalTokens).toBe(Math.round(100_000 / 0.95) - 100_000);
  });

  it('keeps the base exact unless asked; auto takes 8 bits where those are measured to be faster, and names what it settled on', () => {
    const fast = { fp32: 200, int8: 800 };
    expect(plan({ speeds: fast })).toMatchObject({
      recipe: { precision: 'fp32' },
      reasons: { precision: { reason: expect.stringContaining('4.0 times') as unknown } },
    });
    expect(plan({ speeds: fast }, { precision: 'auto' }).recipe.precision).toBe('int8');
    for (const speeds of [null, { fp32: 200, int8: 250 }])
      expect(plan({ speeds }, { precision: 'auto' }).recipe.precision).toBe('fp32');
    expect(plan({ speeds: fast }, { precision: 'auto' }).estimate.memoryBytes).toBeLessThan(
      plan({}).estimate.memoryBytes,
    );
  });

  it('questions what is unusual and takes it all the same', () => {
    const { recipe, questions } = plan({ data: prose }, { epochs: 6, rehearsal: 0.7, rank: 2 });
    expect(recipe).toMatchObject({ epochs: 6, rehearsal: 0.7, rank: 2 });
    expect(questions.map(({ key }) => key)).toEqual(expect.arrayContaining(['epochs', 'rehearsal', 'rank']));
    expect(() => plan({ data: prose }, { rehearsal: 0.95 })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID' }),
    );
  });
});

describe('a guard', () => {
  it('holds where an instruct model reads text with requests mixed in, and not without', () => {
    expect(plan({ data: prose }).guards).toMatchObject([
      { holds: true, measured: expect.stringContaining('5%') as unknown },
    ]);
    expect(plan({ data: prose }, { rehearsal: 0 }).guards).toMatchObject([
      { holds: false, measured: expect.stringContaining('Cheng et al. 2023') as unknown },
    ]);
  });

  it('offers the plain template where a base model learns to answer', () => {
    expect(plan({ model: base }).guards).toMatchObject([
      { holds: true, measured: expect.stringContaining('### Answer') as unknown },
    ]);
    expect(plan({ data: prose, model: base }).guards).toEqual([]);
    expect(plan({}).guards).toEqual([]);
  });
});
