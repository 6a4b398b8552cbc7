/** @file Which device a recipe is trained on, and how that is said: never a program that acts as a graphics processor, never silently. */
import { describe, expect, it } from 'vitest';
import { Recipe, type Precision } from '../contract/recipe.ts';
import { isSoftware, openedDevice } from '../core/graphics.ts';
import { chooseDevice, type Chosen, type Graphics } from './devices.ts';

const CARD: Graphics = { name: 'NVIDIA GeForce RTX 4070', fp32: 9000, halves: true, memoryBytes: 12e9, why: null };
const NONE: Graphics = { name: null, fp32: null, halves: false, memoryBytes: null, why: 'none was found' };
const SPEEDS = { fp32: 300, int8: 900 };

const choose = (set: Partial<Recipe>, graphics: Graphics = CARD, neededBytes = 4e9): Chosen =>
  chooseDevice(Recipe.parse({ strategy: 'instruct', ...set }), graphics, SPEEDS, {
    cpu: 'Some CPU',
    needed: (tokens, precision = set.precision as Precision) =>
      (neededBytes * tokens) / (precision === 'fp16' ? 1024 : 512),
  });

describe('auto', () => {
  it('takes a graphics processor that is faster, and says by how much', () => {
    expect(choose({})).toEqual({
      device: 'webgpu',
      name: CARD.name,
      why: 'Training on NVIDIA GeForce RTX 4070: it multiplies 30 times as fast as the processor.',
      tokens: 512,
    });
  });

  it('gives it as many tokens at a time as its memory holds', () => {
    expect(choose({}, CARD, 0.5e9).tokens).toBe(4096);
    expect(choose({}, CARD, 1e9).tokens).toBe(2048);
    expect(choose({}, CARD, 10e9).tokens).toBe(512);
    expect(choose({}, { ...CARD, memoryBytes: null }, 1e9).tokens).toBe(512);
  });

  it.each<[string, Partial<Recipe>, Graphics, number, string]>([
    ['there is none', {}, NONE, 4e9, 'none was found'],
    ['it is a program', {}, { ...CARD, name: 'llvmpipe (LLVM 15.0.6, 256 bits)' }, 4e9, 'acts as one'],
    ['it is slow', {}, { ...CARD, fp32: 330 }, 4e9, 'only 1.1 times as fast'],
    ['it is too small', {}, CARD, 20e9, 'the run takes about 20.00 GB'],
    ['it is too small but for halves', {}, CARD, 20e9, 'with precision fp16 it would take 10.00 GB'],
    ['it cannot do int8', { precision: 'int8' }, CARD, 4e9, 'cannot do a base in int8 yet'],
    ['it knows no halves', { precision: 'fp16' }, { ...CARD, halves: false }, 4e9, 'knows no 16-bit numbers'],
    ['it cannot do full tuning', { method: 'full' }, CARD, 4e9, 'cannot do full tuning yet'],
    ['it cannot do DoRA', { useDora: true }, CARD, 4e9, 'cannot do DoRA yet'],
    ['it cannot do dropout', { dropout: 0.1 }, CARD, 4e9, 'cannot do dropout yet'],
    ['it cannot train the head', { modulesToSave: ['lm_head'] }, CARD, 4e9, 'embedding or head in whole yet'],
  ])('stays on the processor where %s, and says so', (_, set, graphics, needed, words) => {
    const chosen = choose(set, graphics, needed);
    expect(chosen).toMatchObject({ device: 'cpu', name: 'Some CPU' });
    expect(chosen.why).toContain(words);
  });

  it('keeps a base in halves where it knows them', () => {
    expect(choose({ precision: 'fp16' }, CARD, 20e9)).toMatchObject({ device: 'webgpu', tokens: 512 });
  });

  it('says nothing of halves where they would not fit either, or are not known', () => {
    expect(choose({}, CARD, 40e9).why).not.toContain('fp16');
    expect(choose({}, { ...CARD, halves: false }, 20e9).why).not.toContain('fp16');
  });

  it('takes one of unknown memory', () => {
    expect(choose({}, { ...CARD, memoryBytes: null }, 20e9).device).toBe('webgpu');
  });
});

describe('a recipe that names its device', () => {
  it('gets it', () => {
    expect(choose({ device: 'cpu' })).toMatchObject({ device: 'cpu' });
    expect(choose({ device: 'webgpu' }, { ...CARD, name: 'SwiftShader Device (Subzero)', fp32: 1 }).device).toBe(
      'webgpu',
    );
  });

  it('is told where that cannot be', () => {
    expect(() => choose({ device: 'webgpu' }, NONE)).toThrow(expect.objectContaining({ code: 'DEVICE_MISSING' }));
    expect(() => choose({ device: 'webgpu', useDora: true })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID' }),
    );
  });
});

describe('what the system tells', () => {
  it('names the device that was opened', () => {
    const written =
      'DRIVER:  Using "llvmpipe" with driver: "a.so"\nDRIVER:  Using "AMD Radeon RX 6800" with driver: "b.so"\n';
    expect(openedDevice(written)).toBe('AMD Radeon RX 6800');
    expect(openedDevice('nothing of that')).toBeNull();
  });

  it('tells programs from processors', () => {
    for (const name of ['SwiftShader Device (Subzero)', 'llvmpipe (LLVM 15)', 'Microsoft Basic Render Driver'])
      expect(isSoftware(name)).toBe(true);
    for (const name of ['NVIDIA H100', 'AMD Radeon RX 6800', 'Intel(R) Arc(tm) A770', 'Apple M3'])
      expect(isSoftware(name)).toBe(false);
  });
});
