/** @file What a person writes into a recipe must reach the host as they meant it, and every setting must be there to be changed. */
import { describe, expect, it } from 'vitest';
import { Recipe } from '../../../main/contract/recipe.ts';
import { EXPERT, MAIN, shown, withValue, written, type Setting } from './settings.ts';

const rate: Setting = { key: 'learningRate', name: 'Step size', kind: 'number' };

describe('settings', () => {
  it('cover the whole recipe, each once', () => {
    const keys = [...MAIN, ...EXPERT].map(({ key }) => key);
    const all = Object.keys(Recipe.shape).filter((key) => !['version', 'strategy'].includes(key));
    expect(keys.toSorted()).toEqual(all.toSorted());
  });
  it('read numbers as people write them', () => {
    expect(written(rate, ' 2e-4 ')).toBe(0.0002);
    expect(written(rate, '0,002')).toBe(0.002);
  });
  it('hand what is no number to the host, which says what is allowed', () => {
    expect(written(rate, 'quick')).toBe('quick');
  });
  it('take the advised value again where nothing is written', () => {
    expect(written(rate, '  ')).toBeUndefined();
    expect(withValue({ rank: 4, epochs: 2 }, 'rank', undefined)).toEqual({ epochs: 2 });
    expect(withValue({ rank: 4 }, 'rank', 8)).toEqual({ rank: 8 });
  });
  it('say values in words', () => {
    expect(shown(undefined)).toBe('not set');
    expect(shown(true)).toBe('on');
    expect(shown(['q_proj', 'v_proj'])).toBe('q_proj, v_proj');
    expect(shown(Recipe.parse({ strategy: 'instruct' }).targetModules)).toBe('all 7 linear layers');
  });
});
