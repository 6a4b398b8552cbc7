/** @file What a person would read wrongly if these were wrong. */
import { describe, expect, it } from 'vitest';
import { bytes, count, duration, margin, parameters, plural, roughly, signed, small, tick, when } from './format.ts';

describe('numbers', () => {
  it('group thousands and agree in number', () => {
    expect(count(1186)).toBe('1,186');
    expect(plural(1, 'pair')).toBe('1 pair');
    expect(plural(0, 'entry', 'entries')).toBe('0 entries');
  });
  it('keep small step sizes readable', () => {
    expect(small(0.0002)).toBe('2e-4');
    expect(small(0.002)).toBe('0.002');
    expect(small(0)).toBe('0');
    expect(tick(120000)).toBe('120 k');
    expect(tick(0.30000000000000004)).toBe('0.3');
  });
  it('show a sign, with a real minus', () => {
    expect(signed(-0.1234, 3)).toBe('−0.123');
    expect(signed(0.5, 1)).toBe('+0.5');
    // What rounds to nothing is neither more nor less.
    expect([0.2, 0, -0.2].map((value) => signed(value, 0))).toEqual(['0', '0', '0']);
    expect(margin({ low: 1, high: 2 }, 1)).toBe('0.5');
  });
});

describe('sizes and times', () => {
  it('name their unit', () => {
    expect(bytes(0)).toBe('0 bytes');
    expect(bytes(269_000_000)).toBe('269 MB');
    expect(bytes(3_100_000_000)).toBe('3.1 GB');
    expect(parameters(134_515_008)).toBe('135 M');
    expect(parameters(1_240_000_000)).toBe('1.24 B');
  });
  it('are exact where they are measured and rounded where they are guessed', () => {
    expect(duration(1172)).toBe('19 min 32 s');
    expect(duration(3600)).toBe('1 h 00 min');
    expect(roughly(3)).toBe('a few seconds');
    expect(roughly(660)).toBe('about 11 min');
    expect(roughly(6000)).toBe('about 1 h 40');
    expect(roughly(null)).toBe('not known yet');
  });
  it('say today as today', () => {
    const now = new Date('2026-11-23T12:00:00');
    expect(when('2026-11-23T09:12:00', now)).toBe('Today, 09:12');
    expect(when('2026-11-18T09:12:00', now)).toBe('18 Nov');
    expect(when('2024-11-18T09:12:00', now)).toBe('18 Nov 2024');
  });
});
