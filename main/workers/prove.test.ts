/** @file What a run and its files are asked: long prompts and rows too, never more than the model takes, and nothing else in their place. */
import { describe, expect, it } from 'vitest';
import type { Example } from '../engine/types.ts';
import { REPLAYED_TOKENS } from '../exports/proof.ts';
import { asksSomething, questionsFrom } from './prove.ts';

const example = (prompt: number, answer: number): Example => ({
  ids: Int32Array.from({ length: prompt + answer }, (_, i) => i),
  loss: Uint8Array.from({ length: prompt + answer }, (_, i) => Number(i >= prompt)),
});

describe('questions', () => {
  it('are asked of prompts of any length, by their last tokens', () => {
    for (const prompt of [10, 487, 488, 500, 512, 513, 3000]) {
      const { prompts, rows } = questionsFrom([example(prompt, 40)], true, { maxLength: null, positions: 2048 });
      const length = Math.min(prompt, 512);
      expect(prompts).toEqual([Array.from({ length }, (_, i) => prompt - length + i)]);
      // What is answered is measured.
      expect(rows).toHaveLength(1);
      expect(rows[0]!.ids.length).toBeLessThanOrEqual(512);
      expect(rows[0]!.loss).toContain(1);
    }
  });

  it('are as long as the run was trained with, and as the model takes', () => {
    const ask = (maxLength: number, positions: number) =>
      questionsFrom([example(900, 20)], true, { maxLength, positions });
    expect(ask(1024, 2048)).toMatchObject({ maxLength: 1024, rows: [{ ids: { length: 920 } }] });
    expect(ask(1024, 2048).prompts[0]).toHaveLength(900);
    expect(ask(4096, 512).maxLength).toBe(512);
    // There is place for what is answered.
    expect(ask(4096, 512).prompts[0]).toHaveLength(512 - REPLAYED_TOKENS);
  });

  it('of text are its first tokens, all where it is short', () => {
    const text = (length: number): Example => example(0, length);
    const { prompts } = questionsFrom([text(5), text(600)], false, { maxLength: 64, positions: 512 });
    expect(prompts.map(({ length }) => length).sort((a, b) => a - b)).toEqual([5, 64]);
  });

  it('of rows without an answer there are none', () => {
    expect(asksSomething(questionsFrom([example(30, 0)], true, { maxLength: 64, positions: 512 }))).toBe(false);
  });
});
